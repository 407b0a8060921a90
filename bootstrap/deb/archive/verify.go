package archive

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"

	"github.com/cfbuild/cfbuild/internal/pgp"
	"github.com/cfbuild/cfbuild/site"
)

//go:embed keys/*.gpg
var embedded embed.FS

// keyring gives the keys that sign a repository: the embedded ones of the
// distribution that the repository's name begins with, and the site's.
func keyring(repository string, keys site.Keyring) (openpgp.EntityList, error) {
	var data [][]byte
	if !keys.Replace {
		distribution, _, _ := strings.Cut(repository, "-")
		if d, err := embedded.ReadFile("keys/" + distribution + ".gpg"); err == nil {
			data = append(data, d)
		}
	}
	if len(keys.Keys) > 0 {
		data = append(data, keys.Keys)
	}
	var all openpgp.EntityList
	for _, d := range data {
		list, err := pgp.ReadKeys(d)
		if err != nil {
			return nil, &keyringError{repository, fmt.Errorf("cannot be read: %w", err)}
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil, &keyringError{repository, errors.New("has no keys")}
	}
	return all, nil
}

// keyringError is about the keys that this program trusts, not about a mirror.
type keyringError struct {
	repository string
	err        error
}

func (e *keyringError) Error() string {
	return fmt.Sprintf("keyring of repository %q: %v", e.repository, e.err)
}
func (e *keyringError) Unwrap() error { return e.err }

// Hint is what to do about it.
func (e *keyringError) Hint() string {
	return "add the archive's OpenPGP public keys to the site's keyrings"
}

// openInline takes a clear-signed message apart (RFC 9580, 7). Only the signed
// text counts: anything around it makes the file worthless.
func openInline(ring openpgp.EntityList, data []byte) (text []byte, signer string, err error) {
	if !bytes.HasPrefix(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, "", fmt.Errorf("%w: %s", ErrNotRelease, describe(data))
	}
	block, rest := clearsign.Decode(data)
	if block == nil {
		return nil, "", fmt.Errorf("%w: its end is missing or it is garbled", ErrNotRelease)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, "", fmt.Errorf("%w: something follows the signature", ErrNotRelease)
	}
	sigs, err := io.ReadAll(block.ArmoredSignature.Body)
	if err != nil {
		return nil, "", fmt.Errorf("%w: its signature is garbled: %v", ErrNotRelease, err)
	}
	signer, err = pgp.Verify(ring, block.Bytes, sigs)
	return block.Plaintext, signer, err
}

// openDetached checks Release against Release.gpg, armored or binary.
func openDetached(ring openpgp.EntityList, text, sigs []byte) (signer string, err error) {
	signer, err = pgp.VerifyDetached(ring, text, sigs)
	if errors.Is(err, pgp.ErrGarbled) {
		err = fmt.Errorf("%w: Release.gpg: %v", ErrNotRelease, err)
	}
	return signer, err
}

// describe says what something is that should have been a release file.
func describe(data []byte) string {
	head := bytes.ToLower(bytes.TrimSpace(data[:min(len(data), 512)]))
	switch {
	case len(head) == 0:
		return "it is empty"
	case bytes.HasPrefix(head, []byte("<!doctype")), bytes.HasPrefix(head, []byte("<html")), bytes.HasPrefix(head, []byte("<?xml")):
		return "it is an HTML page"
	case bytes.HasPrefix(head, []byte("origin:")):
		return "it carries no signature"
	}
	return fmt.Sprintf("it begins with %q", head[:min(len(head), 24)])
}
