package oci

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/cfbuild/cfbuild/internal/gunzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The names that hide what lower layers have (OCI image spec, layer.md). Others that
// begin with WhiteoutMeta are those of AUFS itself and mean nothing in an image.
const (
	Whiteout       = ".wh."
	WhiteoutMeta   = ".wh..wh."
	WhiteoutOpaque = ".wh..wh..opq"
)

// What is wrong with a layer.
var (
	// ErrHostile: a name leads out of the image, or is below something that is not
	// a directory.
	ErrHostile = errors.New("hostile name")
	// ErrCorrupt: content that is not what a digest or size says, or no archive.
	ErrCorrupt = errors.New("corrupt layer")
)

// CleanName gives an archive's name as an absolute path. The error is [ErrHostile].
func CleanName(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: %q leads out of the image", ErrHostile, name)
		}
	}
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%w: %q has a zero byte", ErrHostile, name)
	}
	return path.Clean("/" + name), nil
}

// Decompress gives the archive of a layer. It judges by the first bytes (gzip, zstd,
// bzip2, else plain), as media types and blobs in use do not always agree.
func Decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 256<<10)
	magic, err := b.Peek(len(bzip2Magic) + 1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gunzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(z), nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case len(magic) > len(bzip2Magic) && string(magic[:3]) == bzip2Magic[:3] && string(magic[4:]) == bzip2Magic[3:]:
		return io.NopCloser(bzip2.NewReader(b)), nil
	}
	return plain{b}, nil
}

// bzip2Magic begins a bzip2 stream and its first block, with a digit (how large the
// blocks are) after the first three letters. A name in a plain archive can begin with
// these alone.
const bzip2Magic = "BZh1AY&SY"

// plain is an archive that came without compression.
type plain struct{ io.Reader }

func (plain) Close() error { return nil }

// LayerReader reads a layer's archive; another goroutine decompresses. What it read
// is to be trusted once [LayerReader.Finish] says so.
type LayerReader struct {
	desc  v1.Descriptor
	diff  digest.Digest
	file  *os.File
	blob  *hashed
	plain io.ReadCloser
	ahead *ahead
	whole *hashed
}

// OpenLayer opens a layer. diff is the digest of its archive; empty when it is not
// known. Errors match [ErrCorrupt], or are the file system's.
func (l *Layout) OpenLayer(d v1.Descriptor, diff digest.Digest) (*LayerReader, error) {
	known := []digest.Digest{d.Digest}
	if diff != "" {
		known = append(known, diff)
	}
	for _, k := range known {
		if err := k.Validate(); err != nil {
			return nil, fmt.Errorf("%w: digest %q: %w", ErrCorrupt, k, err)
		}
	}
	f, err := os.Open(l.BlobPath(d.Digest))
	if err != nil {
		return nil, err
	}
	r := &LayerReader{desc: d, diff: diff, file: f, blob: newHashed(f, d.Digest.Algorithm())}
	if r.plain, err = Decompress(r.blob); err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	algorithm := digest.SHA256
	if diff != "" {
		algorithm = diff.Algorithm()
	}
	r.ahead = readAhead(r.plain)
	r.whole = newHashed(r.ahead, algorithm)
	return r, nil
}

// Read reads the archive.
func (r *LayerReader) Read(p []byte) (int, error) { return r.whole.Read(p) }

// Bytes that were read of the archive.
func (r *LayerReader) Bytes() int64 { return r.whole.n }

// Compressed says whether the blob is something else than the archive itself.
func (r *LayerReader) Compressed() bool {
	_, is := r.plain.(plain)
	return !is
}

// DiffID is the digest of the archive, after Finish.
func (r *LayerReader) DiffID() digest.Digest { return r.whole.d.Digest() }

// Finish reads what is left (what follows the archive's end is part of its digest)
// and compares digests and size. Errors match [ErrCorrupt], or are the file system's.
func (r *LayerReader) Finish() error {
	if _, err := io.Copy(io.Discard, r); err != nil {
		if _, bad := errors.AsType[*os.PathError](err); bad {
			return err
		}
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	r.stop() // from here no one else reads the blob
	if _, err := io.Copy(io.Discard, r.blob); err != nil {
		return err
	}
	switch {
	case r.blob.n != r.desc.Size:
		return fmt.Errorf("%w: the blob has %d bytes, its descriptor says %d", ErrCorrupt, r.blob.n, r.desc.Size)
	case r.blob.d.Digest() != r.desc.Digest:
		return fmt.Errorf("%w: the blob is not what its digest says", ErrCorrupt)
	case r.diff != "" && r.DiffID() != r.diff:
		return fmt.Errorf("%w: the archive is not what its diff ID %s says", ErrCorrupt, r.diff)
	}
	return nil
}

func (r *LayerReader) stop() {
	if r.ahead != nil {
		r.ahead.Close()
		r.plain.Close()
		r.ahead = nil
	}
}

// Close ends the reading, finished or not.
func (r *LayerReader) Close() error {
	r.stop()
	return r.file.Close()
}

// hashed hashes and counts what is read.
type hashed struct {
	r io.Reader
	d digest.Digester
	n int64
}

func newHashed(r io.Reader, a digest.Algorithm) *hashed { return &hashed{r: r, d: a.Digester()} }

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.d.Hash().Write(p[:n])
	h.n += int64(n)
	return n, err
}
