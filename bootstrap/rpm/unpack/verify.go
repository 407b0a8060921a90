package unpack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/cfbuild/cfbuild/internal/pgp"
	"github.com/cfbuild/cfbuild/internal/rpmfile"
)

// Expect is what the repository says of a package.
type Expect struct{ Name, EVR, Arch string }

// Verify checks that a package is the one expected, and that a key of ring signed
// all of it: its header, which holds the payload's digest, or, as rpm before 4.14
// does it, header and payload together.
func Verify(data []byte, want Expect, ring openpgp.EntityList) (*rpmfile.Package, []byte, error) {
	label := want.Name + "-" + want.EVR + "." + want.Arch
	in := bytes.NewReader(data)
	p, err := rpmfile.Read(in)
	if err == nil {
		err = p.CheckHeader()
	}
	if err != nil {
		return nil, nil, &RefusedError{Package: label, Err: err}
	}
	payload := data[len(data)-in.Len():]
	got := Expect{p.Header.String(rpmfile.Name), strings.TrimPrefix(p.EVR(), "0:"), p.Header.String(rpmfile.Arch)}
	if p.Source || got != want {
		return nil, nil, refuse(label, "it is %s-%s.%s inside", got.Name, got.EVR, got.Arch)
	}
	if err := signed(p, data[len(data)-in.Len()-len(p.Header.Raw):], payload, ring); err != nil {
		e := &RefusedError{Package: label, Err: err}
		if errors.Is(err, pgp.ErrSignature) {
			e.Advice = "it is not the distribution's, or signed with a key that is not known here: if it is right, add the key to the site's keyrings"
		}
		return nil, nil, e
	}
	return p, payload, nil
}

func signed(p *rpmfile.Package, both, payload []byte, ring openpgp.EntityList) error {
	var why []string
	try := func(content []byte, tags ...int) bool {
		for _, tag := range tags {
			sig := p.Signatures.Bytes(tag)
			if sig == nil {
				continue
			}
			if err := verify(ring, content, sig); err != nil {
				why = append(why, strings.TrimPrefix(err.Error(), pgp.ErrSignature.Error()+": "))
				continue
			}
			return true
		}
		return false
	}
	if digest := p.Header.Strings(rpmfile.PayloadDigest); len(digest) > 0 {
		if algo := p.Header.Int(rpmfile.PayloadDigestAlgo); algo != 8 && algo != 0 {
			return fmt.Errorf("%w: its payload has a digest of the kind %d, SHA-256 is wanted", rpmfile.ErrMalformed, algo)
		}
		if sum := sha256.Sum256(payload); hex.EncodeToString(sum[:]) != digest[0] {
			return fmt.Errorf("%w: its payload is not the one that its header says", rpmfile.ErrMalformed)
		}
		if try(p.Header.Raw, rpmfile.SigRSA, rpmfile.SigDSA) {
			return nil
		}
	}
	if try(both, rpmfile.SigPGP, rpmfile.SigGPG) {
		return nil
	}
	if len(why) == 0 {
		why = []string{"it is not signed"}
	}
	return fmt.Errorf("%w: %s", pgp.ErrSignature, strings.Join(why, "; "))
}
