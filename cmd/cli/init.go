package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild"
	"github.com/cfbuild/cfbuild/cmd/cli/scaffold"
	"github.com/spf13/cobra"
)

func (p *program) initCommand() *cobra.Command {
	var replace string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "write a program with an image of your own",
		Long: "Writes a Go program that imports cfbuild's packages and defines an image of its own on\n" +
			"top of Debian 12: go.mod, main.go, images.go, a site file, README.md. DIR must be new\n" +
			"or empty; its name becomes the name of the program and the image.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("", "%s: takes one directory, not %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := p.env.path(filepath.Clean(args[0]))
			o := scaffold.Options{Name: scaffold.Name(dir), GoMod: cfbuild.GoMod, GoSum: cfbuild.GoSum, Replace: p.env.path(replace)}
			if err := library(&o); err != nil {
				return err
			}
			files, err := scaffold.Files(o)
			if err != nil {
				return err
			}
			inUse := dir == p.env.Dir || strings.HasPrefix(p.env.Dir, dir+string(filepath.Separator))
			if err := scaffold.Write(dir, files, inUse); err != nil {
				if errors.Is(err, scaffold.ErrNotEmpty) {
					return usagef("name a new directory", "init %s: %w", args[0], scaffold.ErrNotEmpty)
				}
				return fmt.Errorf("init: %w", err)
			}
			for _, name := range slices.Sorted(maps.Keys(files)) {
				fmt.Fprintln(p.env.Stdout, filepath.Join(args[0], name))
			}
			fmt.Fprintf(p.env.Stderr, "%s: now: cd %s && go build -tags %s && ./%s run %s\n", p.app.name(), args[0], scaffold.Tags, o.Name, o.Name)
			return nil
		},
	}
	cmd.Flags().StringVar(&replace, "replace", "", "use the source of cfbuild in `DIR` rather than a released version")
	return cmd
}

// library says which cfbuild a new program requires: the released version this
// program was made with, or the source it was compiled from.
func library(o *scaffold.Options) error {
	if o.Replace != "" {
		if _, err := os.Stat(filepath.Join(o.Replace, "cmd", "cli")); err != nil {
			return usagef("name a directory with a checkout of "+modulePath, "--replace %q: is not the source of cfbuild", o.Replace)
		}
		return nil
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
			if m.Path == modulePath && m.Sum != "" && m.Replace == nil { // a sum: it came from a proxy, so others can have it
				o.Version, o.Sum = m.Version, m.Sum
				return nil
			}
		}
	}
	_, file, _, ok := runtime.Caller(0)
	source := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if _, err := os.Stat(filepath.Join(source, "go.mod")); !ok || !filepath.IsAbs(source) || err != nil {
		return &hintError{errors.New("init: this is a development build, and its source is not on this machine"),
			"pass --replace DIR with a checkout of " + modulePath}
	}
	o.Replace = source
	return nil
}
