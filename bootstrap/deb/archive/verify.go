package archive

import (
	"bytes"
	"crypto"
	"embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cfbuild/cfbuild/site"
)

//go:embed keys/*.gpg
var embedded embed.FS

// minRSABits is what a key needs to be believed.
const minRSABits = 2048

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
		list, err := readKeys(d)
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

// readKeys reads binary keys, or armored blocks one after the other.
func readKeys(data []byte) (openpgp.EntityList, error) {
	const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	if !bytes.Contains(data, []byte(begin)) {
		return openpgp.ReadKeyRing(bytes.NewReader(data))
	}
	var all openpgp.EntityList
	for {
		i := bytes.Index(data, []byte(begin))
		if i < 0 {
			return all, nil
		}
		block := data[i:]
		data = block[len(begin):]
		if j := bytes.Index(data, []byte(begin)); j >= 0 {
			block = block[:len(begin)+j]
		}
		list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(block))
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
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
	signer, err = verify(ring, block.Bytes, sigs)
	return block.Plaintext, signer, err
}

// openDetached checks Release against Release.gpg, armored or binary.
func openDetached(ring openpgp.EntityList, text, sigs []byte) (signer string, err error) {
	if bytes.HasPrefix(sigs, []byte("-----BEGIN")) {
		block, err := armor.Decode(bytes.NewReader(sigs))
		if err != nil {
			return "", fmt.Errorf("%w: Release.gpg is garbled: %v", ErrNotRelease, err)
		}
		if sigs, err = io.ReadAll(block.Body); err != nil {
			return "", fmt.Errorf("%w: Release.gpg is garbled: %v", ErrNotRelease, err)
		}
	}
	return verify(ring, text, sigs)
}

// verify looks for one good signature. Those by keys that are not known, or of
// kinds that are not believed, do no harm: archives sign with several keys while
// one follows the other.
func verify(ring openpgp.EntityList, signed, sigs []byte) (signer string, err error) {
	var why []string
	packets := packet.NewReader(bytes.NewReader(sigs))
	for {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		var unsupported pgperrors.UnsupportedError
		var unknown pgperrors.UnknownPacketTypeError
		if errors.As(err, &unsupported) || errors.As(err, &unknown) {
			why = append(why, err.Error())
			continue
		}
		if err != nil {
			why = append(why, err.Error())
			break
		}
		sig, ok := p.(*packet.Signature)
		if !ok {
			why = append(why, "a packet that is no signature")
			break
		}
		signer, err := verifyOne(ring, signed, sig)
		if err == nil {
			return signer, nil
		}
		why = append(why, err.Error())
	}
	if why == nil {
		why = []string{"there is none"}
	}
	return "", fmt.Errorf("%w: %s", ErrSignature, strings.Join(why, "; "))
}

func verifyOne(ring openpgp.EntityList, signed []byte, sig *packet.Signature) (string, error) {
	if sig.IssuerKeyId == nil {
		return "", errors.New("a signature that names no key")
	}
	id := fmt.Sprintf("%016X", *sig.IssuerKeyId)
	switch sig.Hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
	default:
		return "", fmt.Errorf("the signature by key %s uses the hash %v, which is not believed", id, sig.Hash)
	}
	if sig.SigType != packet.SigTypeText && sig.SigType != packet.SigTypeBinary {
		return "", fmt.Errorf("the signature by key %s is of another kind", id)
	}
	keys := ring.KeysByIdUsage(*sig.IssuerKeyId, packet.KeyFlagSign)
	if len(keys) == 0 {
		return "", fmt.Errorf("key %s is not in the keyring", id)
	}
	for _, k := range keys {
		if bits, err := k.PublicKey.BitLength(); err == nil && k.PublicKey.PubKeyAlgo == packet.PubKeyAlgoRSA && bits < minRSABits {
			return "", fmt.Errorf("key %s has only %d bits", id, bits)
		}
	}
	var one bytes.Buffer
	if err := sig.Serialize(&one); err != nil {
		return "", fmt.Errorf("the signature by key %s: %v", id, err)
	}
	// The key has to have been good when it signed: releases of archives and
	// snapshots outlive their keys.
	made := sig.CreationTime
	_, entity, err := openpgp.VerifyDetachedSignature(ring, bytes.NewReader(signed), &one, &packet.Config{Time: func() time.Time { return made }})
	if err != nil {
		return "", fmt.Errorf("the signature by key %s is bad: %v", id, err)
	}
	return fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint), nil
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
