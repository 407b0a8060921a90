package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/spf13/cobra"
)

// maxKey bounds key files, in bytes.
const maxKey = 1 << 20

// signFlags name the key that signs SIF files.
type signFlags struct{ key, passphrase string }

func (s *signFlags) add(cmd *cobra.Command, key, passphrase string) {
	cmd.Flags().StringVar(&s.key, key, "", "sign with the secret key in `FILE`: OpenPGP, or PEM of ECDSA, RSA or Ed25519")
	cmd.Flags().StringVar(&s.passphrase, passphrase, "", "`env=VARIABLE|src=FILE` that holds the passphrase of an OpenPGP key")
}

// signing reads the key that flags name; nil when they name none.
func (p *program) signing(s signFlags, key, passphrase string) (*sif.SigningKey, error) {
	if s.key == "" {
		if s.passphrase != "" {
			return nil, usagef("add --"+key, "--%s: nothing is signed", passphrase)
		}
		return nil, nil
	}
	data, err := p.keyFile(key, s.key)
	if err != nil {
		return nil, err
	}
	var secret []byte
	from, what, _ := strings.Cut(s.passphrase, "=")
	switch {
	case s.passphrase == "":
	case from == "env" && what != "":
		if secret = []byte(p.env.Getenv(what)); len(secret) == 0 {
			return nil, usagef("", "--%s: variable %s is not set", passphrase, what)
		}
	case from == "src" && what != "":
		b, err := p.keyFile(passphrase, what)
		if err != nil {
			return nil, err
		}
		secret = bytes.TrimRight(b, "\r\n")
	default: // not shown: it may be the passphrase
		return nil, usagef("write it as --"+passphrase+" env=VARIABLE or --"+passphrase+" src=FILE", "--%s: is neither env=VARIABLE nor src=FILE", passphrase)
	}
	k, err := sif.ReadSigningKey(data, secret, p.env.Now())
	if errors.Is(err, sif.ErrPassphrase) {
		return nil, usagef("give it with --"+passphrase+" env=VARIABLE or src=FILE", "--%s %s: %w", key, s.key, err)
	}
	if err != nil {
		return nil, usagef("", "--%s %s: %w", key, s.key, err)
	}
	return k, nil
}

// keyFile reads a file that a flag names.
func (p *program) keyFile(flag, name string) ([]byte, error) {
	f, err := os.Open(p.env.path(name))
	if err != nil {
		return nil, usagef("", "--%s: %w", flag, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err == nil && len(b) > maxKey {
		err = fmt.Errorf("more than %d bytes: this is no key", maxKey)
	}
	if err != nil {
		return nil, usagef("", "--%s %s: %w", flag, name, err)
	}
	return b, nil
}

func (p *program) sifSignCommand() *cobra.Command {
	var s signFlags
	cmd := &cobra.Command{
		Use:   "sign FILE --key KEY",
		Short: "sign a SIF file",
		Long: "Adds a signature over all objects, which apptainer verify takes: with an OpenPGP key, or\n" +
			"with a key of ECDSA, RSA or Ed25519. A file that the key has signed stays as it is.",
		Args: argsAre("one FILE", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := p.signing(s, "key", "passphrase")
			if err == nil && k == nil {
				err = usagef("add --key FILE", "%s: with which key?", cmd.CommandPath())
			}
			if err != nil {
				return err
			}
			digest, same, err := sif.Sign(cmd.Context(), p.env.path(args[0]), k)
			switch {
			case errors.Is(err, sif.ErrNotSIF):
				return usagef(p.app.name()+" sif convert makes one of an OCI layout", "%v", err)
			case errors.Is(err, sif.ErrForged):
				return &checkError{err, "it was changed after it was signed: make it again"}
			case err != nil:
				return err
			}
			how := "signed"
			if same {
				how = "signed already"
			}
			fmt.Fprintf(p.env.Stdout, "%s %s %s\n", args[0], digest, how)
			return nil
		},
	}
	s.add(cmd, "key", "passphrase")
	return cmd
}

// trustFlags name whose signatures are believed.
type trustFlags struct{ keys, certificates []string }

func (t *trustFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&t.keys, "key", nil, "believe signatures of the public key in `FILE`: OpenPGP or PEM; may be repeated")
	cmd.Flags().StringArrayVar(&t.certificates, "certificate", nil, "believe signatures of the PEM certificate in `FILE`, as it is: no chain is checked; may be repeated")
}

func (p *program) trust(f trustFlags) (t sif.Trust, given bool, err error) {
	for _, name := range f.keys {
		b, err := p.keyFile("key", name)
		if err != nil {
			return t, true, err
		}
		if err := t.AddKey(b); err != nil {
			fix := ""
			if bytes.Contains(b, []byte("-----BEGIN CERTIFICATE")) {
				fix = "use --certificate"
			}
			return t, true, usagef(fix, "--key %s: %w", name, err)
		}
	}
	for _, name := range f.certificates {
		b, err := p.keyFile("certificate", name)
		if err != nil {
			return t, true, err
		}
		if err := t.AddCertificate(b, p.env.Now()); err != nil {
			return t, true, usagef("", "--certificate %s: %w", name, err)
		}
	}
	return t, len(f.keys)+len(f.certificates) > 0, nil
}

// badSignature says what to do about what [sif.Image.Signed] found.
func (p *program) badSignature(name string, err error) error {
	err = fmt.Errorf("%s: %w", name, err)
	switch {
	case errors.Is(err, sif.ErrForged):
		return &checkError{err, "do not run it: fetch it again from where it was signed"}
	case errors.Is(err, sif.ErrUnsigned):
		return &checkError{err, p.app.name() + " sif sign signs it"}
	case errors.Is(err, sif.ErrSigner):
		return &checkError{err, "ask for the signer's public key, and give it with --key or --certificate"}
	}
	return err
}
