package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/cmd/cli/progress"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/spf13/cobra"
)

// workersVariable lists workers for backends that have some, where --builder names
// no address.
const workersVariable = "CFBUILD_WORKERS"

func (p *program) workersCommand() *cobra.Command {
	var builder string
	var asJSON bool
	var timeout time.Duration
	name := p.app.name()
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "list the daemons that build, with platforms, versions and caches",
		Long: "Asks the daemons that --builder or $" + workersVariable + " names: NAME:ADDRESS, or a list\n" +
			"NAME:PLATFORM=ADDRESS,PLATFORM=ADDRESS,*=ADDRESS. Those that do not answer are listed with\n" +
			"the reason. Ends with exit code 4 when none answers.",
		Example: fmt.Sprintf("  %[1]s workers --builder buildkit:unix:///run/buildkit/buildkitd.sock\n"+
			"  %[1]s workers --builder 'buildkit:linux/amd64=tcp://build1:1234?certs=certs,linux/arm64=tcp://build2:1234?certs=certs'", name),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, address, err := p.workersBackend(builder)
			if err != nil {
				return err
			}
			dir, err := p.env.stateDir(p.stateFlag)
			if err != nil {
				return err
			}
			s, err := p.loadSite()
			if err != nil {
				return err
			}
			o := builders.Options{Address: address, Getenv: p.env.Getenv, Site: s, StateDir: filepath.Join(dir, b.Name), Log: p.env.Stderr, Warn: p.announce}
			ws, err := b.Workers(cmd.Context(), o, timeout)
			if err != nil && cmd.Context().Err() == nil {
				err = &usageError{err: err} // of the address
			}
			if err != nil {
				return err
			}
			return p.showWorkers(ws, asJSON)
		},
	}
	p.builderFlag(cmd, &builder)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().DurationVar(&timeout, "timeout", 15*time.Second, "`TIME` each daemon may take to answer")
	cmd.AddCommand(p.workersCertsCommand(), p.workersRemoveCommand())
	return cmd
}

// workersBackend gives the backend that has workers, and their address.
func (p *program) workersBackend(flag string) (builders.Backend, string, error) {
	i, address, err := p.findBackend(flag)
	if err != nil {
		return builders.Backend{}, "", err
	}
	has := func(b builders.Backend) bool { return b.Workers != nil }
	if i < 0 {
		if i = slices.IndexFunc(p.app.Backends, has); i < 0 {
			return builders.Backend{}, "", &builders.UnavailableError{Builder: "auto", Reason: "no backend of this program has workers"}
		}
	}
	b := p.app.Backends[i]
	if b.Stub != "" {
		return b, "", &builders.UnavailableError{Builder: b.Name, Reason: "left out of this program: " + b.Stub}
	}
	if !has(b) {
		var names []string
		for _, b := range p.app.Backends {
			if has(b) {
				names = append(names, b.Name)
			}
		}
		return b, "", usagef("these have: "+or(strings.Join(names, ", "), "none"), "--builder %q: %s builds on this machine and has no workers", flag, b.Name)
	}
	return b, address, nil
}

func (p *program) showWorkers(ws []builders.WorkerStatus, asJSON bool) error {
	var err error
	if asJSON {
		err = writeJSON(p.env.Stdout, struct {
			Version int                     `json:"version"`
			Workers []builders.WorkerStatus `json:"workers"`
		}{1, ws})
	} else {
		err = writeWorkers(p.env.Stdout, ws)
	}
	if err != nil {
		return err
	}
	var told []string
	answers := false
	for _, w := range ws {
		answers = answers || w.Err == ""
		if w.Fix != "" && !slices.Contains(told, w.Fix) && !asJSON {
			told = append(told, w.Fix)
			fmt.Fprintf(p.env.Stderr, "%s: hint: %s\n", p.app.name(), w.Fix)
		}
	}
	if !answers {
		return &quietError{ExitUnavailable}
	}
	return nil
}

func writeWorkers(out io.Writer, ws []builders.WorkerStatus) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "WORKER\tFOR\tVERSION\tNATIVE\tEMULATED\tSTORAGE\tCACHE\tRECORDS\tLIMIT\n")
	for _, s := range ws {
		address, use := or(s.Address, "this machine"), or(short(s.For), "*")
		if s.Err != "" {
			fmt.Fprintf(w, "%s\t%s\tunreachable: %s\n", address, use, s.Err)
			continue
		}
		native := slices.DeleteFunc(slices.Clone(s.Platforms), func(q pipelines.Platform) bool { return slices.Contains(s.Emulated, q) })
		limit := "-"
		if s.Limit > 0 {
			limit = progress.Bytes(s.Limit)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", address, use, or(s.Version, "?"), or(architectures(native), "-"), or(architectures(s.Emulated), "-"),
			or(s.Snapshotter, "?"), progress.Bytes(s.Cache), s.Records, limit)
	}
	return w.Flush()
}

// architectures leaves out levels of one architecture, such as amd64/v3.
func architectures(ps []pipelines.Platform) string {
	var out []string
	for _, q := range ps {
		name := q.Architecture
		if q.Architecture == "arm" {
			name = q.Short()
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return strings.Join(out, ",")
}
