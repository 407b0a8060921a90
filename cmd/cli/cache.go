package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/cmd/cli/cache"
	"github.com/cfbuild/cfbuild/cmd/cli/progress"
	"github.com/spf13/cobra"
)

func (p *program) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "look at and tidy what is kept between runs",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return p.unknown("cache command", args[0], []string{"size", "prune"}, "there are size and prune")
		},
	}
	cmd.AddCommand(p.cacheSizeCommand(), p.cachePruneCommand())
	return cmd
}

func (p *program) cacheSizeCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "size",
		Short: "how much disk each part takes",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := p.env.stateDir(p.stateFlag)
			if err != nil {
				return err
			}
			var all []cache.Usage
			total := int64(0)
			for _, name := range append([]string{"bootstrap", "artifacts", testsDir, tempDir}, backendNames(p.app.Backends)...) {
				u, err := cache.Size(name, filepath.Join(dir, name))
				if err == nil && u.Unread > 0 { // the ids of a user namespace own them: ask the backend
					err = p.backendSize(cmd.Context(), &u)
				}
				if err != nil {
					return err
				}
				total += u.Bytes
				all = append(all, u)
			}
			if asJSON {
				return writeJSON(p.env.Stdout, struct {
					Version int           `json:"version"`
					Dir     string        `json:"dir"`
					Bytes   int64         `json:"bytes"`
					Parts   []cache.Usage `json:"parts"`
				}{1, dir, total, all})
			}
			w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
			for _, u := range all {
				note := ""
				if u.Unread > 0 {
					note = fmt.Sprintf("\t(%d directories could not be read)", u.Unread)
				}
				fmt.Fprintf(w, "%s\t%s\t%d files%s\n", u.Name, progress.Bytes(u.Bytes), u.Files, note)
			}
			fmt.Fprintf(w, "total\t%s\t%s\n", progress.Bytes(total), p.env.shown(dir))
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (p *program) cachePruneCommand() *cobra.Command {
	var older time.Duration
	var all, dry, asJSON bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "remove what was not used for a while",
		Long: "Removes downloads, roots, artifacts and builder storage that were not used for a while.\n" +
			"What a run that is on may use stays.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if older < 0 {
				return usagef("", "--older-than %q: is negative", older)
			}
			if all && cmd.Flags().Changed("older-than") {
				return usagef("give one of them", "--all and --older-than: exclude each other")
			}
			dir, err := p.env.stateDir(p.stateFlag)
			if err != nil {
				return err
			}
			o := cache.Options{Before: p.env.Now().Add(-older), Now: p.env.Now(), DryRun: dry}
			if all {
				older = 0
				o.Before = p.env.Now().Add(time.Second) // also what was made in this second
			}
			freed, err := cache.Prune(cmd.Context(), dir, p.parts(dir, older), o)
			if e := p.printFreed(freed, dry, asJSON); e != nil {
				return errors.Join(err, e)
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.DurationVar(&older, "older-than", 720*time.Hour, "`AGE` since the last use, such as 24h")
	fl.BoolVar(&all, "all", false, "everything no run uses now")
	fl.BoolVar(&dry, "dry-run", false, "only say what would go")
	fl.BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func (p *program) backendSize(ctx context.Context, u *cache.Usage) error {
	for _, b := range p.app.Backends {
		if b.Name != u.Name || b.Size == nil {
			continue
		}
		n, err := b.Size(ctx, builders.Options{StateDir: u.Path})
		if err != nil {
			return err
		}
		u.Bytes, u.Unread = n, 0
	}
	return nil
}

// parts are the builders' own stores, as far as they exist.
func (p *program) parts(dir string, unused time.Duration) []cache.Part {
	var out []cache.Part
	for _, b := range p.app.Backends {
		store := filepath.Join(dir, b.Name)
		if _, err := os.Stat(store); err != nil || b.Prune == nil {
			continue
		}
		out = append(out, cache.Part{Name: b.Name, Prune: func(ctx context.Context, o cache.Options) (int64, int, error) {
			if o.DryRun {
				return 0, 0, cache.ErrUntold
			}
			n, err := b.Prune(ctx, builders.Options{StateDir: store}, unused)
			return n, 0, err
		}})
	}
	return out
}

func (p *program) printFreed(freed []cache.Freed, dry, asJSON bool) error {
	total := int64(0)
	for _, f := range freed {
		total += f.Bytes
	}
	if asJSON {
		if freed == nil {
			freed = []cache.Freed{}
		}
		return writeJSON(p.env.Stdout, struct {
			Version int           `json:"version"`
			DryRun  bool          `json:"dry_run"`
			Bytes   int64         `json:"bytes"`
			Parts   []cache.Freed `json:"parts"`
		}{1, dry, total, freed})
	}
	w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
	for _, f := range freed {
		note := f.Skipped
		if note == "" {
			note = "removed"
			if dry {
				note = "would go"
			}
			if f.Items > 0 {
				note = fmt.Sprintf("%d %s", f.Items, note)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, progress.Bytes(f.Bytes), note)
	}
	fmt.Fprintf(w, "total\t%s\t\n", progress.Bytes(total))
	return w.Flush()
}
