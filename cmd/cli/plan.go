package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/spf13/cobra"
)

func (p *program) planCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "plan TARGET…",
		Short: "show what run would build",
		Long: "Shows the jobs of a run: one for each target and platform, with the identity of its\n" +
			"definition. Nothing is built; only --platform all asks a mirror or registry.",
		Args:              p.needTargets(1, 0),
		ValidArgsFunction: p.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.progress = &choice{value: "plain"}
			f.push = "never"
			r, err := p.prepare(f, args)
			if err != nil {
				return err
			}
			var offers offerer
			sink := pipelines.Sink(func(e pipelines.Event) {
				if e.Kind == pipelines.EventWarning {
					fmt.Fprintf(p.env.Stderr, "%s: warning: %s\n", p.app.name(), e.Text)
				}
			})
			if r.platforms.all {
				said := func(s string) { sink(pipelines.Event{Kind: pipelines.EventWarning, Text: s}) }
				b, err := p.openBuilder(cmd.Context(), f.builderFlags, r.site, r.stateDir, said)
				if err != nil {
					return err
				}
				offers = p.engine(&r, b, sink).Offered
			}
			pl, left, err := plan(cmd.Context(), r.targets, r.platforms, offers)
			if err != nil {
				return err
			}
			for _, l := range left {
				fmt.Fprintf(p.env.Stderr, "%s: %s for %s is left out: %s\n", p.app.name(), l.Target, l.Platform, l.Reason)
			}
			if f.json {
				return writeJSON(p.env.Stdout, pl)
			}
			w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "JOB\tPLATFORM\tOPERATIONS\tIDENTITY")
			for _, j := range pl.Jobs {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", j.ID, j.Platform, len(j.Graph.Nodes), j.Graph.ID())
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&f.platform, "platform", "host", "`host|all|LIST`")
	cmd.Flags().BoolVar(&f.json, "json", false, "the plan as JSON")
	p.builderFlag(cmd, &f.builder)
	_ = cmd.RegisterFlagCompletionFunc("platform", completePlatforms)
	return cmd
}
