package oci

import (
	"archive/tar"
	"bufio"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Unarchive makes a new layout at dir out of a tar file: an OCI image layout
// ("oci-archive", also what docker save writes since 25), or what docker save wrote
// before (manifest.json, a configuration and layers). gzip is taken off. What is in
// the archive beside blobs is not written anywhere. The error matches [ErrNotLayout]
// when it is something else.
func Unarchive(ctx context.Context, file, dir string) (*Layout, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := bufio.NewReaderSize(f, 256<<10)
	var r io.Reader = b
	if magic, _ := b.Peek(2); string(magic) == "\x1f\x8b" {
		if r, err = gzip.NewReader(b); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", file, ErrNotLayout, err)
		}
	}
	l, err := Create(dir)
	if err != nil {
		return nil, err
	}
	u := unarchiver{l: l, blobs: map[string]v1.Descriptor{}, links: map[string]string{}}
	if err := u.read(ctx, tar.NewReader(r)); err != nil {
		var corrupt flate.CorruptInputError
		if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt) {
			err = fmt.Errorf("%w: it is no whole tar archive: %w", ErrNotLayout, err)
		}
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case u.index != nil:
		var idx v1.Index
		if err = json.Unmarshal(u.index, &idx); err == nil {
			return l, l.SetIndex(idx)
		}
	case u.docker != nil:
		if err = u.convert(); err == nil {
			return l, nil
		}
	default:
		err = errors.New("it has neither index.json nor manifest.json")
	}
	return nil, fmt.Errorf("%s: %w: %w", file, ErrNotLayout, err)
}

type unarchiver struct {
	l             *Layout
	index, docker []byte
	blobs         map[string]v1.Descriptor // by name in the archive
	links         map[string]string
}

func (u *unarchiver) read(ctx context.Context, tr *tar.Reader) error {
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)[1:]
		switch {
		case h.Typeflag == tar.TypeSymlink: // docker save named equal layers once
			u.links[name] = path.Join(path.Dir(name), h.Linkname)
		case h.Typeflag == tar.TypeLink:
			u.links[name] = path.Clean("/" + h.Linkname)[1:]
		case h.Typeflag != tar.TypeReg:
		case name == v1.ImageIndexFile, name == "manifest.json":
			b, err := io.ReadAll(io.LimitReader(tr, MaxJSON))
			if err != nil {
				return err
			}
			if name == "manifest.json" {
				u.docker = b
			} else {
				u.index = b
			}
		case strings.HasPrefix(name, v1.ImageBlobsDir+"/"), strings.HasSuffix(name, ".json"), strings.HasSuffix(name, ".tar"):
			if err := u.blob(name, tr); err != nil {
				return err
			}
		}
	}
}

func (u *unarchiver) blob(name string, r io.Reader) error {
	w, err := u.l.NewBlob()
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	d, n, err := w.Commit()
	u.blobs[name] = v1.Descriptor{Digest: d, Size: n}
	return err
}

// convert writes manifests for what docker save wrote before 25.
func (u *unarchiver) convert() error {
	var images []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(u.docker, &images); err != nil {
		return fmt.Errorf("manifest.json: %w", err)
	}
	find := func(name string) (v1.Descriptor, error) {
		name = path.Clean("/" + name)[1:]
		for range 8 {
			if to, ok := u.links[name]; ok {
				name = to
			}
		}
		d, ok := u.blobs[name]
		if !ok {
			return d, fmt.Errorf("manifest.json names %s, which is not there", name)
		}
		return d, nil
	}
	var idx v1.Index
	for _, image := range images {
		m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{}}
		var err error
		if m.Config, err = find(image.Config); err != nil {
			return err
		}
		m.Config.MediaType = v1.MediaTypeImageConfig
		for _, name := range image.Layers {
			d, err := find(name)
			if err != nil {
				return err
			}
			d.MediaType = v1.MediaTypeImageLayer
			m.Layers = append(m.Layers, d)
		}
		var c v1.Image
		if err := u.l.ReadJSON(m.Config, &c); err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
		d, err := u.l.PutJSON(v1.MediaTypeImageManifest, m)
		if err != nil {
			return err
		}
		p := c.Platform
		d.Platform = &p
		if len(image.RepoTags) > 0 {
			d.Annotations = map[string]string{v1.AnnotationRefName: image.RepoTags[0]}
		}
		idx.Manifests = append(idx.Manifests, d)
	}
	return u.l.SetIndex(idx)
}
