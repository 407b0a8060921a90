package cli

import (
	"os/user"
	"strconv"
	"time"

	"github.com/cfbuild/cfbuild/cmd/cli/doctor"
	"github.com/cfbuild/cfbuild/site"
	"github.com/spf13/cobra"
)

func (p *program) doctorCommand() *cobra.Command {
	var asJSON bool
	var output string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "say what this machine lacks for building, and what mends it",
		Long: "Looks at builders, user namespaces, storage, emulation, disk, mirrors, registries and\n" +
			"the certificate authorities seen on the wire. Changes nothing. Ends with exit code 4\n" +
			"when no builder works here.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := p.env.stateDir(p.stateFlag)
			if err != nil {
				return err
			}
			s, pl, err := p.load()
			if err != nil {
				return err
			}
			in := doctor.Input{Getenv: p.env.Getenv, Now: p.env.Now, UID: p.env.UID, StateDir: dir, Dirs: []string{p.env.path(output)},
				Site: s, Pipeline: pl, Backends: p.app.Backends, Workers: p.env.Getenv(workersVariable), Timeout: timeout}
			if u, err := user.LookupId(strconv.Itoa(p.env.UID)); err == nil {
				in.User = u.Username
			}
			// What administrators added to this machine's trust is what site host trusts.
			if host, err := site.Load("host", site.LoadOptions{Getenv: p.env.Getenv, Now: p.env.Now()}); err == nil {
				in.MachineCAs = host.CAs
			}
			r := doctor.Run(cmd.Context(), in)
			if asJSON {
				err = writeJSON(p.env.Stdout, struct {
					Version int    `json:"version"`
					Site    string `json:"site"`
					doctor.Result
				}{1, s.Name, r})
			} else {
				err = r.Write(p.env.Stdout)
			}
			if err == nil && len(r.Working) == 0 {
				err = &quietError{ExitUnavailable}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().StringVar(&output, "output", "out", "`DIR` that run would write to")
	cmd.Flags().DurationVar(&timeout, "timeout", 15*time.Second, "`TIME` each check may take")
	return cmd
}
