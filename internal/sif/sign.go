package sif

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sylabs/sif/v2/pkg/integrity"
	"github.com/sylabs/sif/v2/pkg/sif"
)

var (
	// ErrUnsigned: a SIF, or some of its objects, has no signature.
	ErrUnsigned = errors.New("not signed")
	// ErrSigner: the signatures are by others than who is trusted, or are broken.
	ErrSigner = errors.New("not signed by a trusted key")
	// ErrForged: a trusted key signed other content.
	ErrForged = errors.New("not what was signed")
)

// sign adds a signature over each group of objects. Its time is that of the image, or
// of the OpenPGP key when that is younger: no key signs before it is made. The same
// image and key give the same signature, unless the key is one of OpenPGP's ECDSA.
func (k *SigningKey) sign(ctx context.Context, img *sif.FileImage, at time.Time) error {
	opts := []integrity.SignerOpt{integrity.OptSignWithContext(ctx)}
	if k.entity != nil {
		if k.made.After(at) {
			at = k.made
		}
		opts = append(opts, integrity.OptSignWithEntity(k.entity), integrity.OptSignWithoutPGPSignatureSalt())
	} else {
		opts = append(opts, integrity.OptSignWithSigner(plainSigner{k.signer}))
	}
	at = at.UTC()
	s, err := integrity.NewSigner(img, append(opts, integrity.OptSignWithTime(func() time.Time { return at }))...)
	if err != nil {
		return err
	}
	return s.Sign()
}

// trust believes the key alone.
func (k *SigningKey) trust() (Trust, error) {
	var t Trust
	if k.entity != nil {
		t.ring = append(t.ring, k.entity)
		return t, nil
	}
	return t, t.add(k.signer.Public())
}

// Sign adds a signature to the SIF file at path, or replaces nothing when the key has
// signed it already. The file is written anew beside itself, whole or not at all.
func Sign(ctx context.Context, path string, k *SigningKey) (digest string, unchanged bool, err error) {
	fail := func(err error) (string, bool, error) { return "", false, fmt.Errorf("sif %s: %w", path, err) }
	old, err := Open(path)
	if err != nil {
		return "", false, err
	}
	defer old.Close()
	own, err := k.trust()
	if err != nil {
		return fail(err)
	}
	_, err = old.Signed(ctx, own)
	if errors.Is(err, ErrForged) { // a signature that is there would be worth less than none
		return fail(err)
	}
	if err == nil {
		digest, _, err := compare(ctx, old.f, path)
		return digest, true, err
	}
	st, err := old.f.Stat()
	if err != nil {
		return fail(err)
	}
	tmp, done, err := beside(path)
	if err != nil {
		return fail(err)
	}
	defer done()
	if _, err := io.Copy(tmp, ctxReader{ctx, io.NewSectionReader(old.f, 0, st.Size())}); err != nil {
		return fail(err)
	}
	img, err := sif.LoadContainer(tmp, sif.OptLoadWithFlag(os.O_RDWR), sif.OptLoadWithCloseOnUnload(false))
	if err != nil {
		return fail(err)
	}
	if err := k.sign(ctx, img, img.ModifiedAt()); err != nil {
		return fail(err)
	}
	if err := img.UnloadContainer(); err != nil {
		return fail(err)
	}
	if err := tmp.Chmod(st.Mode().Perm()); err != nil {
		return fail(err)
	}
	if digest, _, err = compare(ctx, tmp, path); err != nil {
		return fail(err)
	}
	if err := publish(tmp, path); err != nil {
		return fail(err)
	}
	return digest, false, nil
}

// publish gives a file that was written beside path its name.
func publish(tmp *os.File, path string) error {
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// Signer is who signed.
type Signer struct {
	// Key is the fingerprint of an OpenPGP key, or the SHA-256 of a public key (as
	// SubjectPublicKeyInfo), in upper case hex.
	Key string `json:"key"`
	// Name is the first user ID of an OpenPGP key.
	Name    string   `json:"name,omitempty"`
	Objects []uint32 `json:"objects"`
}

// Signed checks that every object is covered by a good signature of somebody who is
// trusted, and gives those. Signatures by others do no harm. Errors match [ErrUnsigned],
// [ErrSigner] or [ErrForged], or are [ObjectError]s around it that name the object.
// Legacy signatures (before SIF 1.0 of 2020), which leave the headers out, do not count.
func (i *Image) Signed(ctx context.Context, t Trust) ([]Signer, error) {
	var good []Signer
	var strange []error
	covered := map[uint32]bool{}
	v, err := integrity.NewVerifier(i.img, integrity.OptVerifyWithContext(ctx), integrity.OptVerifyWithKeyRing(t.ring),
		integrity.OptVerifyWithVerifier(append([]signature.Verifier{nobody{}}, t.verifiers...)...),
		integrity.OptVerifyCallback(func(r integrity.VerifyResult) bool {
			var invalid *integrity.SignatureNotValidError
			if errors.As(r.Error(), &invalid) {
				strange = append(strange, invalid)
				return true
			}
			if r.Error() != nil {
				return false
			}
			var ids []uint32
			for _, d := range r.Verified() {
				covered[d.ID()] = true
				ids = append(ids, d.ID())
			}
			if e := r.Entity(); e != nil {
				s := Signer{Key: fmt.Sprintf("%X", e.PrimaryKey.Fingerprint), Objects: ids}
				if id := e.PrimaryIdentity(); id != nil {
					s.Name = id.Name
				}
				good = append(good, s)
			}
			for _, k := range r.Keys() {
				good = append(good, Signer{Key: keyID(k), Objects: ids})
			}
			return false
		}))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrUnsigned, err)
	}
	if err := v.Verify(); err != nil {
		return nil, i.forged(err)
	}
	for _, o := range i.Objects {
		if o.Type == sif.DataSignature.String() || covered[o.ID] {
			continue
		}
		if len(strange) > 0 {
			return nil, fmt.Errorf("%w: %v", ErrSigner, errors.Join(slices.Compact(strange)...))
		}
		return nil, &ObjectError{o.ID, o.Type, ErrUnsigned}
	}
	return good, nil
}

// forged says what the library found in our terms.
func (i *Image) forged(err error) error {
	var missing *integrity.SignatureNotFoundError
	var object *integrity.ObjectIntegrityError
	var descriptor *integrity.DescriptorIntegrityError
	id := uint32(0)
	what := ErrForged
	switch {
	case errors.As(err, &missing):
		if !slices.ContainsFunc(i.Objects, func(o Object) bool { return o.Type == sif.DataSignature.String() }) {
			return ErrUnsigned
		}
		return fmt.Errorf("%w: %v", ErrUnsigned, err)
	case errors.As(err, &object):
		id = object.ID
	case errors.As(err, &descriptor):
		id, what = descriptor.ID, fmt.Errorf("%w: its descriptor was changed", ErrForged)
	}
	for _, o := range i.Objects {
		if id != 0 && o.ID == id {
			return &ObjectError{o.ID, o.Type, what}
		}
	}
	return fmt.Errorf("%w: %w", what, err)
}

func keyID(k crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%X", sha256.Sum256(der))
}
