package cli

import "github.com/spf13/cobra"

func (p *program) testCommand() *cobra.Command {
	name := p.app.name()
	cmd := &cobra.Command{
		Use:   "test",
		Short: "prove things about images by running what is in them",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return p.unknown("command", "test "+args[0], []string{"test ca"}, name+" test --help lists the commands")
		},
	}
	cmd.AddCommand(p.testCACommand())
	return cmd
}
