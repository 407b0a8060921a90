package oci

import (
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"crypto/sha256"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// BlobWriter writes one blob beside its place; it gets its name when committed.
type BlobWriter struct {
	l    *Layout
	f    *os.File
	hash hash.Hash
	n    int64
}

// NewBlob starts a blob. End it with Commit or Abort; Abort after Commit does
// nothing, so it can be deferred.
func (l *Layout) NewBlob() (*BlobWriter, error) {
	f, err := os.CreateTemp(filepath.Join(l.dir, v1.ImageBlobsDir, "sha256"), ".tmp-*")
	if err != nil {
		return nil, err
	}
	return &BlobWriter{l: l, f: f, hash: sha256.New()}, nil
}

// Write appends to the blob.
func (w *BlobWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.hash.Write(p[:n])
	w.n += int64(n)
	return n, err
}

// Commit puts the blob in place and gives its digest and size in bytes. It does
// not sync: a layout becomes durable when its directory is renamed into place
// after [Layout.Sync].
func (w *BlobWriter) Commit() (digest.Digest, int64, error) {
	f := w.f
	if f == nil {
		return "", 0, errors.New("blob: already ended")
	}
	w.f = nil
	d := digest.NewDigest(digest.SHA256, w.hash)
	err := f.Chmod(0o644)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), w.l.BlobPath(d))
	}
	if err != nil {
		os.Remove(f.Name())
		return "", 0, err
	}
	return d, w.n, nil
}

// Abort drops the blob if it was not committed.
func (w *BlobWriter) Abort() {
	if w.f != nil {
		w.f.Close()
		os.Remove(w.f.Name())
		w.f = nil
	}
}

// LinkBlob puts a file whose digest is known into the layout: a hard link where
// the file system allows it, else a copy.
func (l *Layout) LinkBlob(src string, d digest.Digest) error {
	dst := l.BlobPath(d)
	if err := os.Link(src, dst); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	w, err := l.NewBlob()
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	got, _, err := w.Commit()
	if err != nil {
		return err
	}
	if got != d {
		os.Remove(l.BlobPath(got))
		return errors.New("blob " + src + ": content is " + got.String() + ", not " + d.String())
	}
	return nil
}

// Sync writes the layout's files to disk, for durability before a rename.
func (l *Layout) Sync() error {
	return filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}
