package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/spf13/cobra"
)

func (p *program) listCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the targets",
		Long: "Lists the targets with how each recipe was last verified by the project's tests:\n" +
			"  " + pipelines.VerifiedReal + ": built from the distribution's own mirror\n" +
			"  " + pipelines.VerifiedSynthetic + ": built from a repository that the tests made\n" +
			"  " + pipelines.VerifiedGolden + ": its definition was compared, no image was built",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, pl, err := p.load()
			if err != nil {
				return err
			}
			if asJSON {
				return p.listJSON(pl)
			}
			verified := slices.ContainsFunc(pl.Targets, func(t pipelines.Target) bool { return t.Verified != "" })
			w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
			if verified {
				fmt.Fprintf(w, "TARGET\tVERIFIED WITH\tWHAT\n")
			}
			for _, t := range pl.Targets {
				name, about := t.Name, t.Description
				if t.Ended(p.env.Now()) {
					about = "END OF LIFE " + t.EndOfLife + ": " + about
				}
				if len(t.Platforms) > 0 {
					about = strings.TrimSpace(about + " [" + short(t.Platforms) + "]")
				}
				if len(t.Aliases) > 0 { // last, so that the columns stay narrow
					about = strings.TrimSpace(about + " (also " + strings.Join(t.Aliases, ", ") + ")")
				}
				if verified {
					name += "\t" + or(t.Verified, "-")
				}
				fmt.Fprintf(w, "%s\t%s\n", name, about)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (p *program) listJSON(pl pipelines.Pipeline) error {
	type target struct {
		Name        string               `json:"name"`
		Aliases     []string             `json:"aliases,omitempty"`
		Description string               `json:"description,omitempty"`
		Platforms   []pipelines.Platform `json:"platforms,omitempty"` // none: what its source offers
		EndOfLife   string               `json:"end_of_life,omitempty"`
		Verified    string               `json:"verified,omitempty"`
	}
	out := struct {
		Version  int      `json:"version"`
		Pipeline string   `json:"pipeline,omitempty"`
		Targets  []target `json:"targets"`
	}{1, pl.Name, []target{}}
	for _, t := range pl.Targets {
		out.Targets = append(out.Targets, target{t.Name, t.Aliases, t.Description, t.Platforms, t.EndOfLife, t.Verified})
	}
	return writeJSON(p.env.Stdout, out)
}

// short lists platforms by architecture, as --platform takes them.
func short(ps []pipelines.Platform) string {
	var names []string
	for _, p := range ps {
		names = append(names, p.Short())
	}
	return strings.Join(names, " ")
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
