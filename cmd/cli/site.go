package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/cmd/cli/sitecheck"
	"github.com/cfbuild/cfbuild/site"
	"github.com/spf13/cobra"
)

func (p *program) siteCommand() *cobra.Command {
	name := p.app.name()
	cmd := &cobra.Command{
		Use:   "site",
		Short: "write, show and check a site: mirrors, CAs, registries, indexes",
		Long: "A site says where packages and images come from at one place, and whom to trust there.\n" +
			"Built in are " + strings.Join(site.Names(), ", ") + "; others are TOML files.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return p.unknown("command", "site "+args[0], []string{"site init", "site show", "site check"}, name+" site --help lists the commands")
		},
	}
	cmd.AddCommand(p.siteInitCommand(), p.siteShowCommand(), p.siteCheckCommand())
	return cmd
}

// oneSite takes no argument, or the name of a site, which then counts instead of
// --site.
func (p *program) oneSite(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("", "%s: takes one site, not %d", cmd.CommandPath(), len(args))
	}
	if len(args) == 1 && p.siteName != "" {
		return usagef("leave out one of them", "%s: a site is named twice, %s and --site %s", cmd.CommandPath(), args[0], p.siteName)
	}
	return nil
}

func (p *program) siteShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [NAME|FILE]",
		Short: "show a site as it is after reading its file and this machine",
		Long: "Shows mirrors, indexes, authorities, keys, registries and proxies, the preferred first.\n" +
			"Credentials and keys are never shown. Nothing is asked over the network.",
		Args:              p.oneSite,
		ValidArgsFunction: p.completeSites,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				p.siteName = args[0]
			}
			s, err := p.loadSite()
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(p.env.Stdout, struct {
					Version int `json:"version"`
					site.Description
				}{1, s.Describe()})
			}
			return s.Show(p.env.Stdout)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (p *program) siteCheckCommand() *cobra.Command {
	var asJSON bool
	var timeout time.Duration
	var only []string
	cmd := &cobra.Command{
		Use:   "check [NAME|FILE]",
		Short: "ask every mirror, index, registry and proxy of a site whether it is any use",
		Long: "Asks everything a site names, side by side and each in bounded time: is it reachable, is\n" +
			"its index fresh compared with the other mirrors and signed by a known key, is one package\n" +
			"that the index names there with the right size and hash, how fast is it. Of a repository\n" +
			"the release is probed that the newest target uses; the report says which.\n\n" +
			"Ends with exit code 0 when everything has at least one usable mirror, 8 when something has\n" +
			"none or an authority has expired, 1 when nothing at all can be used, 3 for an invalid site.",
		Args:              p.oneSite,
		ValidArgsFunction: p.completeSites,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				p.siteName = args[0]
			}
			if timeout < time.Second {
				return usagef("", "--timeout %s: is less than a second", timeout)
			}
			s, pl, err := p.load()
			if err != nil {
				return err
			}
			if p.app.Pipeline == nil {
				pl.Targets = nil
			}
			r, err := sitecheck.Run(cmd.Context(), sitecheck.Input{Site: s, Pipeline: pl, Only: only, Now: p.env.Now, Timeout: timeout,
				TempDir: os.TempDir(), Keys: p.app.keys()})
			var unknown *sitecheck.UnknownError
			if errors.As(err, &unknown) {
				return p.unknown("--only", unknown.Name, unknown.Names, unknown.Hint())
			}
			if err != nil {
				return err
			}
			code := checkCode(r)
			if asJSON {
				err = writeJSON(p.env.Stdout, struct {
					Version  int    `json:"version"`
					Site     string `json:"site"`
					ExitCode int    `json:"exit_code"`
					sitecheck.Result
				}{1, s.Name, code, r})
			} else {
				if _, err := fmt.Fprintf(p.env.Stdout, "site %s\n\n", s.Name); err != nil {
					return err
				}
				err = r.Write(p.env.Stdout)
			}
			if err == nil && code != ExitDone {
				err = &quietError{code}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "`TIME` the probe of one mirror may take")
	cmd.Flags().StringSliceVar(&only, "only", nil, "`NAME,…` of repositories and indexes to check, registries, proxies, ca")
	return cmd
}

// checkCode is the exit code for what was found.
func checkCode(r sitecheck.Result) int {
	usable, all := r.Usable()
	if all > 0 && usable == 0 {
		return ExitOther
	}
	bad := usable < all
	for _, list := range [][]sitecheck.Check{r.Proxies, r.CAs} {
		for _, c := range list {
			bad = bad || c.Status == sitecheck.Failed
		}
	}
	if bad {
		return ExitCheck
	}
	return ExitDone
}
