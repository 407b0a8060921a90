package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/spf13/cobra"
)

// openSIF opens an argument.
func (p *program) openSIF(name string) (*sif.Image, error) {
	i, err := sif.Open(p.env.path(name))
	var oe *sif.ObjectError
	switch {
	case errors.Is(err, sif.ErrNotSIF):
		return nil, usagef(p.app.name()+" sif convert makes one of an OCI layout", "%v", err)
	case errors.As(err, &oe):
		return nil, damaged(err)
	}
	return i, err
}

func damaged(err error) error { return &checkError{err, "copy it again, or make it again"} }

func (p *program) sifListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list FILE",
		Short: "the data objects of a SIF file",
		Args:  argsAre("one FILE", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := p.openSIF(args[0])
			if err != nil {
				return err
			}
			defer i.Close()
			if asJSON {
				return writeJSON(p.env.Stdout, i)
			}
			w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tTYPE\tNAME\tOFFSET\tSIZE")
			for _, o := range i.Objects {
				kind := o.Type
				if o.FileSystem != "" {
					kind += " (" + o.FileSystem + ", " + o.Arch + ")"
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\n", o.ID, kind, o.Name, o.Offset, o.Size)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) sifInspectCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "labels, definition and scripts of a SIF file",
		Args:  argsAre("one FILE", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i, err := p.openSIF(args[0])
			if err != nil {
				return err
			}
			defer i.Close()
			a, err := i.Attributes()
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if asJSON {
				return writeJSON(p.env.Stdout, a)
			}
			fmt.Fprintf(p.env.Stdout, "id: %s\narch: %s\ncreated: %s\n", i.ID, i.Arch, i.Created.Format("2006-01-02T15:04:05Z"))
			for _, part := range slices.Sorted(maps.Keys(a)) {
				fmt.Fprintf(p.env.Stdout, "\n%s:\n", part)
				switch v := a[part].(type) {
				case map[string]any:
					for _, k := range slices.Sorted(maps.Keys(v)) {
						fmt.Fprintf(p.env.Stdout, "  %s: %s\n", k, indent(fmt.Sprint(v[k])))
					}
				default:
					fmt.Fprintf(p.env.Stdout, "  %s\n", indent(fmt.Sprint(v)))
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// indent keeps a text of several lines below its name.
func indent(s string) string { return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") }

func (p *program) sifVerifyCommand() *cobra.Command {
	var f trustFlags
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "read a SIF file whole, find what is damaged, and check who signed it",
		Long: "Reads every block of the file system and each object, and compares the content with the\n" +
			"ID that was made of it. This finds damage. Forgery is found with --key or --certificate:\n" +
			"each object must have a good signature by one of them. Signatures by others do no harm.",
		Args: argsAre("one FILE", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			trust, given, err := p.trust(f)
			if err != nil {
				return err
			}
			i, err := p.openSIF(args[0])
			if err != nil {
				return err
			}
			defer i.Close()
			var signers []sif.Signer
			if given {
				if signers, err = i.Signed(cmd.Context(), trust); err != nil {
					return p.badSignature(args[0], err)
				}
			}
			st, err := i.Verify(cmd.Context())
			if err != nil && cmd.Context().Err() == nil {
				return damaged(fmt.Errorf("%s: %w", args[0], err))
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(p.env.Stdout, "%s is whole: %d entries, %d bytes in files\n", args[0], st.Entries, st.Bytes)
			for _, s := range signers {
				fmt.Fprintln(p.env.Stdout, strings.TrimSpace("signed by "+s.Key+" "+s.Name))
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}
