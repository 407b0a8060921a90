package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bundle joins the one-platform layouts of a target into one OCI layout at dir
// and gives the digest of its image index. index.json names that one index, with
// the target's name as org.opencontainers.image.ref.name, so that tools that take
// one image (skopeo, podman, apptainer: "oci:dir") choose a platform in it.
// Blobs are hard links where the file system allows it.
//
// The layout appears whole, in place of the one that was there; a run that is
// killed leaves the old one or the new one, and of two runs at once the last to
// finish wins. unchanged: the same layout was there already. A directory that is
// neither empty nor a layout is left alone: the error is an [OutputError].
func (p *Publisher) Bundle(ctx context.Context, parts []pipelines.Artifact, dir string) (index string, unchanged bool, err error) {
	fail := func(err error) (string, bool, error) { return "", false, fmt.Errorf("bundle %s: %w", dir, err) }
	if dir, err = filepath.Abs(dir); err != nil {
		return fail(err)
	}
	images, name, err := readParts(parts)
	if err != nil {
		return fail(err)
	}
	var ds []v1.Descriptor
	for _, m := range images {
		ds = append(ds, m.desc)
	}
	raw, err := json.Marshal(indexOf(ds))
	if err != nil {
		return fail(err)
	}
	top := v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	if name != "" {
		top.Annotations = map[string]string{v1.AnnotationRefName: name}
	}
	if err := replaceable(dir); err != nil {
		return fail(err)
	}
	if sameLayout(dir, top, raw, images) {
		return top.Digest.String(), true, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fail(err)
	}
	tmp, err := newTemp(dir, true)
	if err != nil {
		return fail(err)
	}
	defer tmp.discard()
	if err := fill(ctx, tmp.path, top, raw, images); err != nil {
		return fail(err)
	}
	if err := tmp.replaceDir(dir); err != nil {
		return fail(err)
	}
	return top.Digest.String(), false, nil
}

// readParts reads each artifact's image; the name is that of their target.
func readParts(parts []pipelines.Artifact) ([]image, string, error) {
	var images []image
	name := ""
	for _, a := range parts {
		m, err := readPart(a)
		if err != nil {
			return nil, "", err
		}
		images, name = append(images, m), a.Target
	}
	if len(images) == 0 {
		return nil, "", fmt.Errorf("there are no images to join")
	}
	images, err := sortImages(images)
	return images, name, err
}

// readPart finds an artifact's image in its layout.
func readPart(a pipelines.Artifact) (image, error) {
	ms, err := readLayout(a.Path)
	if err != nil {
		return image{}, err
	}
	for _, m := range ms {
		if m.platform == a.Platform.Normalize() && (a.Digest == "" || a.Digest == m.desc.Digest.String()) {
			return m, nil
		}
	}
	return image{}, fmt.Errorf("%s: no image for %s with digest %s", a.Path, a.Platform, a.Digest)
}

// fill writes a layout and syncs it.
func fill(ctx context.Context, dir string, top v1.Descriptor, raw []byte, images []image) error {
	l, err := oci.Create(dir)
	if err != nil {
		return err
	}
	for _, m := range images {
		for _, b := range m.blobs() {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := l.LinkBlob(m.layout.BlobPath(b.Digest), b.Digest); err != nil {
				return err
			}
		}
	}
	w, err := l.NewBlob()
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(raw); err != nil {
		return err
	}
	if _, _, err := w.Commit(); err != nil {
		return err
	}
	if err := l.SetIndex(indexOf([]v1.Descriptor{top})); err != nil {
		return err
	}
	return l.Sync()
}

// sameLayout says whether dir holds exactly these images, every blob whole.
func sameLayout(dir string, top v1.Descriptor, raw []byte, images []image) bool {
	l, err := oci.Open(dir)
	if err != nil {
		return false
	}
	have, err := l.Index()
	if err != nil {
		return false
	}
	a, errA := json.Marshal(have)
	b, errB := json.Marshal(indexOf([]v1.Descriptor{top}))
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		return false
	}
	if got, err := l.ReadBlob(top); err != nil || !bytes.Equal(got, raw) {
		return false
	}
	for _, m := range images {
		for _, d := range m.blobs() {
			if !sameBlob(l.BlobPath(d.Digest), m.layout.BlobPath(d.Digest), d) {
				return false
			}
		}
	}
	return true
}

// sameBlob compares by inode, then by content.
func sameBlob(path, source string, d v1.Descriptor) bool {
	a, err := os.Stat(path)
	if err != nil || a.Size() != d.Size {
		return false
	}
	if b, err := os.Stat(source); err == nil && os.SameFile(a, b) {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	got, err := digest.SHA256.FromReader(f)
	return err == nil && got == d.Digest
}
