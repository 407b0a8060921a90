package index

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // what Alpine signs with
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/distkeys"
	"github.com/cfbuild/cfbuild/site"
)

// Keys are the RSA public keys that signatures are checked with. Their names do not
// matter: a signature by any of them is good.
type Keys []*rsa.PublicKey

// KeysFor gives the keys trusted for a repository and branch: those of the
// distribution, and those of the site, or these alone where its keyring replaces
// them.
func KeysFor(repository, branch string, ring site.Keyring) (Keys, error) {
	var out Keys
	if !ring.Replace {
		keys, err := parseKeys(distkeys.Keys(repository, branch))
		if err != nil {
			return nil, err
		}
		out = keys
	}
	if len(bytes.TrimSpace(ring.Keys)) > 0 {
		keys, err := parseKeys(ring.Keys)
		if err != nil {
			return nil, fmt.Errorf("keyring of %s: %w", repository, err)
		}
		if len(keys) == 0 {
			return nil, &KeyringError{Repository: repository}
		}
		out = append(out, keys...)
	}
	if len(out) == 0 {
		return nil, &KeyringError{Repository: repository}
	}
	return out, nil
}

// KeyringError: no key is known for a repository.
type KeyringError struct{ Repository string }

func (e *KeyringError) Error() string {
	return "keyring of " + e.Repository + ": no RSA public key in PEM"
}

// Hint is what to do about it.
func (e *KeyringError) Hint() string {
	return "name the file that abuild-keygen made, NAME.rsa.pub: [keyrings] " + e.Repository + ` = "NAME.rsa.pub"`
}

func parseKeys(text []byte) (Keys, error) {
	var out Keys
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return out, nil
		}
		if strings.Contains(block.Type, "PRIVATE") {
			return nil, errors.New("it holds a private key")
		}
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("it holds a %q, not a PUBLIC KEY", block.Type)
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		pub, ok := key.(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("it holds a key that is not RSA (%T)", key)
		}
		out = append(out, pub)
	}
}

// UnknownKeyError: signed, by keys that are not trusted here. It matches
// [fetch.ErrSignature].
type UnknownKeyError struct {
	// Names are the key files the signatures ask for.
	Names []string
}

func (e *UnknownKeyError) Error() string {
	return fmt.Sprintf("%v: it is signed with %s", fetch.ErrSignature, strings.Join(e.Names, ", "))
}

// Unwrap gives [fetch.ErrSignature].
func (e *UnknownKeyError) Unwrap() error { return fetch.ErrSignature }

// Hint is what to do about it.
func (e *UnknownKeyError) Hint() string {
	return "if the mirror has a key of its own, get " + e.Names[0] + " from who runs it and name it in the site's [keyrings]; otherwise do not use this mirror"
}

// verify checks the signatures in a member (".SIGN.RSA.NAME", SHA-1; ".SIGN.RSA256.…";
// ".SIGN.RSA512.…") of the bytes that follow it. One good one is enough.
func (ks Keys) verify(signatures []file, signed []byte) error {
	var names []string
	for _, f := range signatures {
		rest, ok := strings.CutPrefix(f.head.Name, ".SIGN.")
		kind, name, ok2 := strings.Cut(rest, ".")
		if !ok || !ok2 {
			continue
		}
		var digest []byte
		var hash crypto.Hash
		switch kind {
		case "RSA":
			d := sha1.Sum(signed) //nolint:gosec // see above
			digest, hash = d[:], crypto.SHA1
		case "RSA256":
			d := sha256.Sum256(signed)
			digest, hash = d[:], crypto.SHA256
		case "RSA512":
			d := sha512.Sum512(signed)
			digest, hash = d[:], crypto.SHA512
		default:
			continue
		}
		for _, k := range ks {
			if rsa.VerifyPKCS1v15(k, hash, digest, f.data) == nil {
				return nil
			}
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: it is not signed", fetch.ErrSignature)
	}
	return &UnknownKeyError{names}
}
