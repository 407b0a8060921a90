package cli

import (
	"fmt"
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
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, pl, err := p.load()
			if err != nil {
				return err
			}
			if asJSON {
				return p.listJSON(pl)
			}
			w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
			for _, t := range pl.Targets {
				name := t.Name
				if len(t.Aliases) > 0 {
					name += " (" + strings.Join(t.Aliases, ", ") + ")"
				}
				about := t.Description
				if len(t.Platforms) > 0 {
					about = strings.TrimSpace(about + " [" + join(t.Platforms) + "]")
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
	}
	out := struct {
		Version  int      `json:"version"`
		Pipeline string   `json:"pipeline,omitempty"`
		Targets  []target `json:"targets"`
	}{1, pl.Name, []target{}}
	for _, t := range pl.Targets {
		out.Targets = append(out.Targets, target{t.Name, t.Aliases, t.Description, t.Platforms})
	}
	return writeJSON(p.env.Stdout, out)
}
