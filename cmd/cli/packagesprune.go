package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/cfbuild/cfbuild/cmd/cli/progress"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers/gitlab"
	"github.com/spf13/cobra"
)

func (p *program) packagesPruneCommand() *cobra.Command {
	var f packagesFlags
	r := gitlab.Retention{}
	var older time.Duration
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "prune PACKAGE…",
		Short: "remove duplicates and old versions of packages",
		Long: "Removes versions of generic packages that are not among the newest --keep and that are older than\n" +
			"--older-than; without either, no version. In the versions that stay, files that a newer one of the\n" +
			"same name hides go too. PACKAGE and the patterns may have * and ?. Nothing is removed without --yes:\n" +
			"it is only told.\n\nExit codes:\n" + ExitCodes,
		Example: fmt.Sprintf("  %[1]s packages prune debian12 --keep 5\n  %[1]s packages prune 'debian*' --keep 3 --older-than 720h --protect 'v*' --yes", p.app.name()),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name packages, or '*' for all", "%s: names no package", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Packages = args
			switch {
			case older < 0:
				return usagef("", "--older-than %q: is negative", older)
			case r.Keep < 0 && cmd.Flags().Changed("keep"):
				return usagef("", "--keep \"%d\": is negative", r.Keep)
			case r.Hidden && older == 0:
				return usagef("give --older-than such as 24h: a hidden version may be in the making", "--hidden: no age is given")
			}
			if older > 0 {
				r.Before = p.env.Now().Add(-older)
			}
			for flag, all := range map[string][]string{"PACKAGE": r.Packages, "--version": r.Versions, "--protect": r.Protect} {
				for _, s := range all {
					if _, err := filepath.Match(s, ""); err != nil {
						return usagef("* stands for any characters, ? for one, [a-z] for one of them", "%s %q: is not a pattern", flag, s)
					}
				}
			}
			o, err := p.packages(f)
			if err != nil {
				return err
			}
			return p.prunePackages(cmd.Context(), o, r, yes, asJSON)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.IntVar(&r.Keep, "keep", -1, "how many of the newest versions of each package `N` stay")
	fl.DurationVar(&older, "older-than", 0, "only versions created longer ago than `AGE`, such as 720h")
	fl.StringSliceVar(&r.Versions, "version", nil, "only versions like one of `PATTERN,…`")
	fl.StringSliceVar(&r.Protect, "protect", nil, "versions like one of `PATTERN,…` stay")
	fl.BoolVar(&r.Duplicates, "duplicates", true, "remove files that a newer one of the same name hides")
	fl.BoolVar(&r.Hidden, "hidden", false, "remove hidden versions, which a push that broke off leaves; needs --older-than")
	fl.BoolVar(&yes, "yes", false, "remove it, rather than tell what would go")
	fl.BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (p *program) prunePackages(ctx context.Context, o gitlab.Options, r gitlab.Retention, yes, asJSON bool) error {
	var what []gitlab.Removal
	err := p.showing(ctx, "plain", func(sink pipelines.Sink) error {
		o.Events = func(e pipelines.Event) {
			if e.Kind == pipelines.EventWarning {
				sink.Send(e)
			}
		}
		c, err := gitlab.New(o)
		if err != nil {
			return err
		}
		if what, err = c.Prunable(ctx, r); err != nil || !yes {
			return err
		}
		return c.Remove(ctx, what)
	})
	return errors.Join(err, p.tellPruned(what, yes, asJSON))
}

// tellPruned prints what was, or would be, removed; also after a failure.
func (p *program) tellPruned(what []gitlab.Removal, yes, asJSON bool) error {
	total, gone := int64(0), 0
	for _, r := range what {
		if !yes || r.Removed {
			total += r.Bytes
			gone++
		}
	}
	if asJSON {
		if what == nil {
			what = []gitlab.Removal{}
		}
		return writeJSON(p.env.Stdout, struct {
			Version  int              `json:"version"`
			DryRun   bool             `json:"dry_run"`
			Bytes    int64            `json:"bytes"`
			Removals []gitlab.Removal `json:"removals"`
		}{1, !yes, total, what})
	}
	w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range what {
		name, how := r.Package+"/"+r.Version, "would go"
		if r.File != "" {
			name += "/" + r.File
		}
		switch {
		case r.Removed:
			how = "removed"
		case r.Failed != "":
			how = "stays: " + r.Failed
		case yes:
			how = "stays"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, progress.Bytes(r.Bytes), r.Created.UTC().Format(time.DateOnly), r.Reason, how)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	word := "removed"
	if !yes {
		word = "would go; --yes removes it"
		if gone == 0 {
			word = "to remove"
		}
	}
	_, err := fmt.Fprintf(p.env.Stdout, "%d, %s %s\n", gone, progress.Bytes(total), word)
	return err
}
