package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/cfbuild/cfbuild/internal/deffile"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/spf13/cobra"
)

func (p *program) showCommand() *cobra.Command {
	var as *choice
	var platform string
	cmd := &cobra.Command{
		Use:               "show TARGET",
		Short:             "show the definition of a target",
		Long:              "Shows a target as it is defined for one platform: each operation, what it stands\non and the author's line; as JSON; as a Graphviz graph; in the language of\nContainerfiles; or as a definition file that plain Apptainer builds. Nothing is fetched.",
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
			site, pl, err := p.load()
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
			case "def":
				return p.showDefinition(cmd.Context(), job, site)
			}
			if _, err := fmt.Fprintf(p.env.Stdout, "%s for %s\n%s\n", job.Target, job.Platform, job.Graph.ID()); err != nil {
				return err
			}
			return job.Graph.Print(p.env.Stdout)
		},
	}
	as = choiceFlag(cmd, "as", "form", "text", "json", "dot", "containerfile", "def")
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

// showDefinition prints what plain Apptainer builds, with the site's mirrors.
func (p *program) showDefinition(ctx context.Context, job pipelines.Job, s site.Site) error {
	d, err := deffile.Lower(ctx, job.Graph, deffile.Options{Site: s})
	if err != nil {
		return err
	}
	d.Comments = []string{fmt.Sprintf("%s for %s. Build it with: apptainer build %s.sif FILE", job.Target, job.Platform, job.Target),
		"While it builds, Apptainer binds this machine's /tmp, /var/tmp and /dev: what a step removes there is gone here."}
	text, err := d.Text()
	if err != nil {
		return fmt.Errorf("definition file of %s: %w", job.Target, err)
	}
	_, err = io.WriteString(p.env.Stdout, text)
	return err
}
