package cli

import (
	"fmt"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/spf13/cobra"
)

func (p *program) workersRemoveCommand() *cobra.Command {
	var builder string
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "take BuildKit out of a Docker daemon",
		Long: "Removes the containers of BuildKit that builds have started in a Docker daemon, also those in\n" +
			"use, with their state and images. The next build makes them again.",
		Example: fmt.Sprintf("  %s workers remove --builder buildkit:docker", p.app.name()),
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			i, address, err := p.findBackend(builder)
			if err != nil {
				return err
			}
			if i < 0 {
				return usagef("--builder buildkit:docker", "name the daemon with --builder")
			}
			b := p.app.Backends[i]
			if b.Stub != "" {
				return &builders.UnavailableError{Builder: b.Name, Reason: "left out of this program: " + b.Stub}
			}
			if b.Remove == nil {
				return usagef("--builder buildkit:docker", "builder %s leaves nothing in a daemon", b.Name)
			}
			removed, err := b.Remove(cmd.Context(), builders.Options{Address: address, Getenv: p.env.Getenv, Warn: func(s string) {
				fmt.Fprintf(p.env.Stderr, "%s: warning: %s\n", p.app.name(), s)
			}})
			for _, r := range removed {
				fmt.Fprintln(p.env.Stdout, "removed "+r)
			}
			if err == nil && len(removed) == 0 {
				fmt.Fprintln(p.env.Stdout, "there is nothing to remove")
			}
			return err
		},
	}
	p.builderFlag(cmd, &builder)
	return cmd
}
