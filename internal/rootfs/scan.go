package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// addBlob verifies and applies a layer of the layout.
func (f *FS) addBlob(ctx context.Context, b v1.Descriptor, diff digest.Digest, by string) error {
	in, err := f.layout.OpenLayer(b, diff)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := f.Add(ctx, in); err != nil {
		if _, bad := errors.AsType[*os.PathError](err); bad || errors.Is(err, ErrHostile) || ctx.Err() != nil || errors.Is(err, errVisit) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err := in.Finish(); err != nil {
		return err
	}
	l := &f.Layers[len(f.Layers)-1]
	l.Digest, l.DiffID, l.Size, l.Bytes, l.CreatedBy = b.Digest, diff, b.Size, in.Bytes(), by
	return nil
}

// errVisit marks an error of Options.Visit.
var errVisit = errors.New("visit")

type visitError struct{ err error }

func (e *visitError) Error() string        { return e.err.Error() }
func (e *visitError) Unwrap() error        { return e.err }
func (e *visitError) Is(target error) bool { return target == errVisit }

// Add applies an uncompressed archive as the next layer.
func (f *FS) Add(ctx context.Context, r io.Reader) error {
	s := &scan{f: f, layer: len(f.Layers), at: map[string]*Entry{}}
	tr := tar.NewReader(r)
	for nth := 0; ; nth++ {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.count++; f.count > f.opts.MaxEntries {
			return fmt.Errorf("more than %d entries", f.opts.MaxEntries)
		}
		if err := s.add(h, tr, nth); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	l, err := s.apply()
	if err != nil {
		return err
	}
	f.Layers = append(f.Layers, l)
	return nil
}

// scan collects one layer.
type scan struct {
	f       *FS
	layer   int
	entries []*Entry
	at      map[string]*Entry // the last of each name, whiteouts left out
}

func (s *scan) add(h *tar.Header, r io.Reader, nth int) error {
	if h.Typeflag == tar.TypeXGlobalHeader { // records for all that follow; none of them means anything here
		return nil
	}
	name, err := oci.CleanName(h.Name)
	if err != nil {
		return err
	}
	dir, base := path.Split(name)
	if gone, ok := strings.CutPrefix(base, oci.Whiteout); ok {
		return s.whiteout(path.Clean(dir), base, gone, h)
	}
	e, err := s.entry(h, name, nth)
	if err != nil {
		return err
	}
	if name == "/" && e.Type != Dir {
		return fmt.Errorf("%w: the root is a %s", ErrHostile, e.Type)
	}
	s.at[name] = e
	s.entries = append(s.entries, e)
	if e.Type != File || e.Hard != "" {
		return nil
	}
	return s.content(e, r)
}

func (s *scan) whiteout(dir, base, gone string, h *tar.Header) error {
	e := &Entry{Path: dir, Type: Opaque, Layer: s.layer, ModTime: h.ModTime}
	switch {
	case base == oci.WhiteoutOpaque:
	case strings.HasPrefix(base, oci.WhiteoutMeta):
		return nil
	case gone == "" || gone == "." || gone == "..":
		return fmt.Errorf("%w: a whiteout of %q", ErrHostile, gone)
	default:
		e.Type, e.Path = Whiteout, path.Join(dir, gone)
	}
	s.entries = append(s.entries, e)
	return nil
}

var types = map[byte]Type{tar.TypeReg: File, tar.TypeCont: File, tar.TypeGNUSparse: File, tar.TypeDir: Dir, tar.TypeSymlink: Symlink,
	tar.TypeChar: Char, tar.TypeBlock: Block, tar.TypeFifo: Fifo}

func (s *scan) entry(h *tar.Header, name string, nth int) (*Entry, error) {
	if h.Typeflag == tar.TypeLink {
		return s.hardLink(h, name)
	}
	s.f.inodes++
	e := &Entry{Path: name, Type: types[h.Typeflag], Mode: uint32(h.Mode & 0o7777), UID: h.Uid, GID: h.Gid,
		ModTime: h.ModTime, Layer: s.layer, Inode: s.f.inodes}
	switch e.Type {
	case "":
		return nil, fmt.Errorf("unknown type %q", h.Typeflag)
	case File:
		e.Size, e.c = h.Size, &content{layer: s.layer, nth: nth}
	case Symlink:
		e.Link, e.Mode = h.Linkname, 0o777
	case Char, Block:
		e.Dev = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	}
	for k, v := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = v
		}
	}
	return e, nil
}

// hardLink: the target is in the same layer, or below it.
func (s *scan) hardLink(h *tar.Header, name string) (*Entry, error) {
	to, err := oci.CleanName(h.Linkname)
	if err != nil {
		return nil, err
	}
	target, ok := s.at[to]
	if !ok {
		target, ok = s.f.Lookup(to)
	}
	switch {
	case !ok:
		return nil, fmt.Errorf("hard link to %s, which is not there", to)
	case target.Type == Dir:
		return nil, fmt.Errorf("hard link to %s, a directory", to)
	}
	e := *target
	e.Path, e.Hard, e.Layer = name, to, s.layer
	return &e, nil
}

// content shows a file to the visitor and keeps what is asked for.
func (s *scan) content(e *Entry, r io.Reader) error {
	o, c := s.f.opts, e.c
	if o.Keep != nil && e.Size <= o.KeepBytes-s.f.kept && o.Keep(e) {
		b := make([]byte, e.Size)
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		c.data, c.kept = b, true
		s.f.kept += e.Size
		r = bytes.NewReader(b)
	}
	if o.Visit != nil {
		if err := o.Visit(s.layer, e, r); err != nil {
			return &visitError{err}
		}
	}
	return nil
}

// apply puts the layer on top: first what it hides, then what it has.
func (s *scan) apply() (Layer, error) {
	hidden := map[string]*Entry{}
	hide := func(e *Entry) { hidden[e.Path] = e }
	var l Layer
	for _, e := range s.entries {
		switch e.Type {
		case Whiteout:
			s.f.root.remove(e.Path, hide)
		case Opaque:
			s.f.root.clear(e.Path, hide)
		default:
			if s.at[e.Path] != e {
				continue // a later one has the name
			}
			if err := s.parents(e.Path); err != nil {
				return l, err
			}
		}
		l.Entries = append(l.Entries, e)
	}
	for _, e := range l.Entries {
		if e.Type != Whiteout && e.Type != Opaque {
			s.f.root.put(e, hide, s.f)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(hidden)) {
		l.Hidden = append(l.Hidden, hidden[p])
	}
	return l, nil
}

// parents refuses a path below something of the same layer that is no directory:
// whoever unpacks it would go where the other leads.
func (s *scan) parents(p string) error {
	for d := path.Dir(p); d != "/"; d = path.Dir(d) {
		if e, ok := s.at[d]; ok {
			if e.Type != Dir {
				return fmt.Errorf("%w: %s is below %s, a %s of the same layer", ErrHostile, p, d, e.Type)
			}
			return nil // its own parents are looked at for it
		}
	}
	return nil
}
