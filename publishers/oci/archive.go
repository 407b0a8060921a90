package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker/reference"
)

// DockerArchive writes one platform's image at path as docker load and podman
// load take it (docker save's manifest.json), named names, such as
// "debian12:latest". Layers stay gzip, zstd layers become gzip. The same image
// and names give the same bytes; the digest is that of the file. The file appears
// whole or not at all; unchanged: the same bytes were there already.
func (p *Publisher) DockerArchive(ctx context.Context, part pipelines.Artifact, path string, names []string) (sum string, unchanged bool, err error) {
	fail := func(err error) (string, bool, error) {
		return "", false, fmt.Errorf("docker archive %s: %w", path, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return fail(err)
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return fail(&OutputError{Path: path, Reason: "is in the way: it is not a file"})
	}
	m, err := readPart(part)
	if err != nil {
		return fail(err)
	}
	f, err := formOf(V2S2)
	if err != nil {
		return fail(err)
	}
	work := &scratch{parent: p.o.TempDir}
	defer work.remove()
	c, err := convert(ctx, m, f, work)
	if err != nil {
		return fail(err)
	}
	tags, err := repoTags(names)
	if err != nil {
		return fail(err)
	}
	if sum, same := sameArchive(ctx, path, c, tags); same {
		return sum, true, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fail(err)
	}
	tmp, err := newTemp(path, false)
	if err != nil {
		return fail(err)
	}
	defer tmp.discard()
	hash := digest.SHA256.Digester()
	buf := bufio.NewWriterSize(io.MultiWriter(tmp.f, hash.Hash()), 1<<20)
	if err := writeArchive(ctx, buf, c, tags); err != nil {
		return fail(err)
	}
	if err := buf.Flush(); err != nil {
		return fail(err)
	}
	if err := tmp.replaceFile(path); err != nil {
		return fail(err)
	}
	return hash.Digest().String(), false, nil
}

// repoTags checks and shortens names as docker save writes them.
func repoTags(names []string) ([]string, error) {
	tags := []string{}
	for _, n := range names {
		ref, err := reference.ParseNormalizedNamed(n)
		if err != nil {
			return nil, fmt.Errorf("name %q: %w", n, err)
		}
		ref = reference.TagNameOnly(ref)
		if _, ok := ref.(reference.NamedTagged); !ok {
			return nil, fmt.Errorf("name %q: has a digest; a docker archive takes tags only", n)
		}
		tags = append(tags, reference.FamiliarString(ref))
	}
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// blobName is where docker save (25 and later) keeps a blob.
func blobName(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

// writeArchive writes the tar: what describes the image first, then each blob
// once, sorted.
func writeArchive(ctx context.Context, w io.Writer, c converted, tags []string) error {
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blobName(c.config.digest), RepoTags: tags, Layers: []string{}}
	pieces := []piece{c.config}
	for _, l := range c.layers {
		entry.Layers = append(entry.Layers, blobName(l.digest))
		pieces = append(pieces, l)
	}
	raw, err := json.Marshal([]any{entry})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	header := func(name string, size int64) error {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		return t.WriteHeader(h)
	}
	if err := header("manifest.json", int64(len(raw))); err != nil {
		return err
	}
	if _, err := t.Write(raw); err != nil {
		return err
	}
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := header(dir, 0); err != nil {
			return err
		}
	}
	slices.SortFunc(pieces, func(a, b piece) int { return strings.Compare(a.digest.String(), b.digest.String()) })
	for _, p := range slices.CompactFunc(pieces, func(a, b piece) bool { return a.digest == b.digest }) {
		if err := header(blobName(p.digest), p.size); err != nil {
			return err
		}
		if err := copyBlob(ctx, t, p); err != nil {
			return err
		}
	}
	return t.Close()
}

// copyBlob copies a blob and checks its digest.
func copyBlob(ctx context.Context, w io.Writer, p piece) error {
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := digest.SHA256.Digester()
	if _, err := io.Copy(io.MultiWriter(w, sum.Hash()), ctxReader{ctx, f}); err != nil {
		return err
	}
	if sum.Digest() != p.digest {
		return fmt.Errorf("%s: its content is %s", p.path, sum.Digest())
	}
	return nil
}

// sameArchive says whether the file at path has the bytes that would be written.
func sameArchive(ctx context.Context, path string, c converted, tags []string) (string, bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	cmp := &comparer{r: bufio.NewReaderSize(f, 1<<20)}
	hash := digest.SHA256.Digester()
	if writeArchive(ctx, io.MultiWriter(cmp, hash.Hash()), c, tags) != nil {
		return "", false
	}
	if _, err := cmp.r.ReadByte(); err != io.EOF {
		return "", false
	}
	return hash.Digest().String(), true
}

// comparer fails at the first byte that differs from r.
type comparer struct {
	r   *bufio.Reader
	buf []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	c.buf = slices.Grow(c.buf[:0], len(p))[:len(p)]
	if _, err := io.ReadFull(c.r, c.buf); err != nil {
		return 0, err
	}
	if !bytes.Equal(c.buf, p) {
		return 0, fmt.Errorf("differs")
	}
	return len(p), nil
}
