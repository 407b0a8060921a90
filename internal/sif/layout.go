package sif

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sylabs/sif/v2/pkg/sif"
)

// Beside is the name of the SIF file that a layout was made of, in the layout's
// directory. It is delivered as it is.
const Beside = "apptainer.sif"

// added by Apptainer to the root of images, as links into /.singularity.d.
var linked = []string{".exec", ".run", ".shell", ".test", "environment", "singularity"}

// Layout writes the tree of a SIF file as an OCI layout of one image with one layer,
// into a directory that is not there or is empty. What Apptainer added to run the image
// is left out. c is the image's configuration; its RootFS and History are made here, and
// its creation time bounds the times of files. The layout is on disk when it returns; when it fails, something may be left.
func Layout(ctx context.Context, path, dir string, c v1.Image) (v1.Descriptor, error) {
	fail := func(err error) (v1.Descriptor, error) { return v1.Descriptor{}, fmt.Errorf("sif %s: %w", path, err) }
	i, err := Open(path)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer i.Close()
	q, err := i.FS()
	if err != nil {
		return fail(err)
	}
	l, err := oci.Create(dir)
	if err != nil {
		return fail(err)
	}
	layer, diff, err := putTree(ctx, l, q, c.Created)
	if err != nil {
		return fail(err)
	}
	c.RootFS = v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{diff}}
	c.History = []v1.History{{Created: c.Created, CreatedBy: "apptainer build"}}
	config, err := l.PutJSON(v1.MediaTypeImageConfig, c)
	if err != nil {
		return fail(err)
	}
	d, err := l.PutJSON(v1.MediaTypeImageManifest, v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: config, Layers: []v1.Descriptor{layer}})
	if err != nil {
		return fail(err)
	}
	d.Platform = &v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}); err != nil {
		return fail(err)
	}
	if err := l.Sync(); err != nil {
		return fail(err)
	}
	return d, nil
}

// putTree writes a file system as a layer. No time is later than newest.
func putTree(ctx context.Context, l *oci.Layout, q *squashfs.FS, newest *time.Time) (v1.Descriptor, digest.Digest, error) {
	blob, err := l.NewBlob()
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	defer blob.Abort()
	z, sum := oci.NewGzipWriter(blob), sha256.New()
	w := tar.NewWriter(io.MultiWriter(z, sum))
	err = q.Walk(func(n *squashfs.Node) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		h, err := header(n)
		if h == nil || err != nil {
			return err
		}
		if newest != nil && h.ModTime.After(*newest) {
			h.ModTime = *newest
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			return nil
		}
		_, err = io.Copy(w, q.Content(n))
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if cerr := z.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	d, size, err := blob.Commit()
	return v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: d, Size: size}, digest.NewDigest(digest.SHA256, sum), err
}

// header is the tar entry of a node, nil for what Apptainer added.
func header(n *squashfs.Node) (*tar.Header, error) {
	p := strings.Trim(strings.TrimPrefix(n.Path, "./"), "/")
	link := n.Mode&fs.ModeSymlink != 0
	if p == meta || strings.HasPrefix(p, meta+"/") || link && slices.Contains(linked, p) && strings.HasPrefix(n.Target, meta+"/") {
		return nil, nil
	}
	if p == "" {
		p = "."
	}
	h := &tar.Header{Name: "./" + p, Uid: int(n.UID), Gid: int(n.GID), ModTime: n.ModTime, Format: tar.FormatPAX, Mode: int64(n.Mode.Perm())}
	if p == "." {
		h.Name = "./"
	}
	for m, bit := range map[fs.FileMode]int64{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if n.Mode&m != 0 {
			h.Mode |= bit
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.Xattrs)) {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+name] = string(n.Xattrs[name])
	}
	switch {
	case n.HardLink != "" && !n.Mode.IsDir():
		h.Typeflag, h.Linkname = tar.TypeLink, "./"+strings.Trim(strings.TrimPrefix(n.HardLink, "./"), "/")
		h.PAXRecords = nil
	case n.Mode.IsDir():
		h.Typeflag = tar.TypeDir
		h.Name = strings.TrimSuffix(h.Name, "/") + "/"
	case link:
		h.Typeflag, h.Linkname = tar.TypeSymlink, n.Target
	case n.Mode.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, n.Size
	case n.Mode&fs.ModeCharDevice != 0:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, int64(n.Major), int64(n.Minor)
	case n.Mode&fs.ModeDevice != 0:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeBlock, int64(n.Major), int64(n.Minor)
	case n.Mode&fs.ModeNamedPipe != 0:
		h.Typeflag = tar.TypeFifo
	case n.Mode&fs.ModeSocket != 0:
		return nil, nil // nobody listens
	default:
		return nil, errors.New(p + ": is of no kind that a layer has")
	}
	return h, nil
}

// Deliver copies the SIF file that a layout was made of to path, whole or not at all,
// and signs it where a key is given.
func Deliver(ctx context.Context, from, path string, key *SigningKey) (Result, error) {
	fail := func(err error) (Result, error) { return Result{}, fmt.Errorf("sif %s: %w", path, err) }
	i, err := Open(from)
	if err != nil {
		return Result{}, err
	}
	defer i.Close()
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return fail(errors.New("something is in the way: it is not a file"))
	}
	tmp, done, err := beside(path)
	if err != nil {
		return fail(err)
	}
	defer done()
	if _, err := io.Copy(tmp, ctxReader{ctx, io.NewSectionReader(i.f, 0, i.size)}); err != nil {
		return fail(err)
	}
	if err := tmp.Chmod(0o755); err != nil {
		return fail(err)
	}
	if key != nil {
		if err := tmp.Sync(); err != nil {
			return fail(err)
		}
		img, err := sif.LoadContainer(tmp, sif.OptLoadWithFlag(os.O_RDWR), sif.OptLoadWithCloseOnUnload(false))
		if err != nil {
			return fail(err)
		}
		if err := key.sign(ctx, img, i.Created); err != nil {
			return fail(err)
		}
		if err := img.UnloadContainer(); err != nil {
			return fail(err)
		}
	}
	r := Result{ID: i.ID, Arch: i.Arch}
	st, err := tmp.Stat()
	if err != nil {
		return fail(err)
	}
	r.Size = st.Size()
	if r.Digest, r.Unchanged, err = compare(ctx, tmp, path); err != nil {
		return fail(err)
	}
	if r.Unchanged {
		return r, nil
	}
	if err := publish(tmp, path); err != nil {
		return fail(err)
	}
	return r, nil
}
