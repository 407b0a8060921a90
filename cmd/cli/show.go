package cli

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/spf13/cobra"
)

func (p *program) showCommand() *cobra.Command {
	var as *choice
	var platform string
	cmd := &cobra.Command{
		Use:               "show TARGET",
		Short:             "show the definition of a target",
		Long:              "Shows a target as it is defined for one platform: each operation, what it stands\non and the author's line; as JSON; as a Graphviz graph; or in the language of\nContainerfiles. Nothing is fetched.",
		Args:              p.needTargets(1, 1),
		ValidArgsFunction: p.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := parsePlatforms(platform)
			if err != nil {
				return err
			}
			if f.all || len(f.list) != 1 {
				return usagef("", "--platform %q: show takes one platform", platform)
			}
			_, pl, err := p.load()
			if err != nil {
				return err
			}
			ts, err := p.targets(pl, args)
			if err != nil {
				return err
			}
			if len(ts[0].Platforms) > 0 && !cmd.Flags().Changed("platform") {
				f.list = firstFit(f.list, ts[0].Platforms)
			}
			ps, _, err := choose(cmd.Context(), ts[0], f, nil)
			if err != nil {
				return err
			}
			job, err := pipelines.NewJob(ts[0], ps[0])
			if err != nil {
				return err
			}
			switch as.value {
			case "json":
				return writeJSON(p.env.Stdout, job.Graph)
			case "dot":
				return job.Graph.Dot(p.env.Stdout)
			case "containerfile":
				return job.Graph.Containerfile(p.env.Stdout)
			}
			if _, err := fmt.Fprintf(p.env.Stdout, "%s for %s\n%s\n", job.Target, job.Platform, job.Graph.ID()); err != nil {
				return err
			}
			return job.Graph.Print(p.env.Stdout)
		},
	}
	as = choiceFlag(cmd, "as", "form", "text", "json", "dot", "containerfile")
	cmd.Flags().StringVar(&platform, "platform", "host", "`PLATFORM`")
	_ = cmd.RegisterFlagCompletionFunc("platform", completePlatforms)
	return cmd
}

// firstFit keeps this machine's platform where a target has it, else takes the
// target's first.
func firstFit(want, have []pipelines.Platform) []pipelines.Platform {
	for _, p := range have {
		if p == want[0] {
			return want
		}
	}
	return have[:1]
}
