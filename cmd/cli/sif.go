package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

func (p *program) sifCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sif",
		Short: "make and read SIF files, the images of Apptainer",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return p.unknown("sif command", args[0], []string{"convert", "inspect", "list", "sign", "verify"}, "there are convert, inspect, list, sign and verify")
		},
	}
	cmd.AddCommand(p.sifConvertCommand(), p.sifInspectCommand(), p.sifListCommand(), p.sifSignCommand(), p.sifVerifyCommand())
	return cmd
}

func sifCompressionFlag(cmd *cobra.Command, name string) *choice {
	return choiceFlag(cmd, name, "of a SIF's file system; gzip runs everywhere, zstd unpacks faster", "gzip", "zstd", "xz", "lz4")
}

func (p *program) sifConvertCommand() *cobra.Command {
	var platform, name string
	var level int
	var compression *choice
	var asJSON bool
	var sign signFlags
	cmd := &cobra.Command{
		Use:   "convert LAYOUT FILE",
		Short: "an OCI image layout to a SIF file",
		Long: "Writes one image of an OCI image layout as a SIF file: without root, without unpacking\n" +
			"and without Apptainer. The same image and flags give the same bytes.",
		Args: argsAre("a LAYOUT and the FILE to write", 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := sif.Options{Level: level, Name: name}
			var err error
			if o.Compression, err = squashfs.ParseCompression(compression.value); err == nil {
				err = squashfs.Options{Compression: o.Compression, Level: level}.Check()
			}
			if err != nil {
				return &usageError{err, "leave --level out for the usual one"}
			}
			if o.Sign, err = p.signing(sign, "sign", "passphrase"); err != nil {
				return err
			}
			l, d, err := p.sifSource(args[0], platform)
			if err != nil {
				return err
			}
			if o.Name == "" {
				o.Name = filepath.Base(l.Dir())
			}
			r, err := sif.Convert(cmd.Context(), l, d, p.env.path(args[1]), o)
			if err != nil {
				return err
			}
			for _, what := range r.Dropped {
				fmt.Fprintf(p.env.Stderr, "warning: squashfs has no place for %s\n", what)
			}
			if asJSON {
				return writeJSON(p.env.Stdout, struct {
					Version int    `json:"version"`
					Path    string `json:"path"`
					sif.Result
				}{1, args[1], r})
			}
			fmt.Fprintf(p.env.Stdout, "%s %s\n", args[1], r.Digest)
			return nil
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "which image, such as linux/arm64 (default: the only one, else this machine's)")
	cmd.Flags().StringVar(&name, "name", "", "of the image, in the definition file (default: the layout's)")
	cmd.Flags().IntVar(&level, "level", 0, "of the compression: gzip 1 to 9, zstd 1 to 22, lz4 1 to 2 (default: gzip 9, zstd 3, lz4 1)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was made as JSON")
	compression = sifCompressionFlag(cmd, "compression")
	sign.add(cmd, "sign", "passphrase")
	_ = cmd.RegisterFlagCompletionFunc("platform", completePlatforms)
	return cmd
}

// argsAre wants exactly n arguments.
func argsAre(what string, n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("usage: "+cmd.UseLine(), "%s wants %s, got %d arguments", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

// sifSource opens a layout and finds the image that a platform names; empty is the
// only image there is, else this machine's.
func (p *program) sifSource(layout, platform string) (*oci.Layout, v1.Descriptor, error) {
	var none v1.Descriptor
	l, err := oci.Open(p.env.path(layout))
	if errors.Is(err, oci.ErrNotLayout) || errors.Is(err, fs.ErrNotExist) {
		return nil, none, usagef("name the directory that "+p.app.name()+" run wrote, such as out/debian12", "%v", err)
	} else if err != nil {
		return nil, none, err
	}
	want := pipelines.HostPlatform()
	if platform != "" {
		f, err := parsePlatforms(platform)
		if err != nil {
			return nil, none, err
		}
		if len(f.list) != 1 {
			return nil, none, usagef("", "--platform %s: a SIF file has one platform", platform)
		}
		want = f.list[0]
	} else if all, err := l.Images(); err != nil {
		return nil, none, err
	} else if len(all) == 1 {
		return l, all[0], nil
	}
	d, err := l.Manifest(want)
	if err == nil {
		return l, d, nil
	}
	hint := "it has no image"
	if there, perr := l.Platforms(); perr == nil && len(there) > 0 {
		hint = "it has " + join(there) + ": choose one with --platform"
	}
	return nil, none, &usageError{err, hint}
}
