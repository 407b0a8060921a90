package stepcache

import (
	"errors"
	"fmt"
	"io"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
)

// receive puts a layer into a layout if both of its digests are right.
func receive(in io.Reader, e Entry, to *oci.Layout) error {
	w, err := to.NewBlob()
	if err != nil {
		return err
	}
	defer w.Abort()
	packed, plain := digest.SHA256.Digester(), digest.SHA256.Digester()
	// One byte more than there should be shows a layer that is too long.
	all := &failing{r: io.TeeReader(io.LimitReader(in, e.Size+1), io.MultiWriter(w, packed.Hash()))}
	z, err := gzip.NewReader(all)
	if err == nil {
		_, err = io.Copy(plain.Hash(), z)
	}
	if all.err != nil {
		return all.err
	}
	// What follows the gzip's end belongs to the digest too.
	if _, rest := io.Copy(io.Discard, all); rest != nil {
		return rest
	}
	switch {
	case packed.Digest() != e.Digest:
		return fmt.Errorf("layer %s: its content is %s", e.Digest, packed.Digest())
	case err != nil:
		return fmt.Errorf("layer %s: %w", e.Digest, err)
	case plain.Digest() != e.DiffID:
		return fmt.Errorf("layer %s: unpacked it is %s, not %s", e.Digest, plain.Digest(), e.DiffID)
	}
	_, _, err = w.Commit()
	return err
}

// failing keeps the error of reading apart from those of what is read.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}
