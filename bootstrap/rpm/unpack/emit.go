package unpack

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/rpmfile"
)

// lookup finds a regular file's content, nil for none.
func (s *Stage) lookup(p string) []byte {
	dir, err := s.dir("", path.Dir(p))
	if err != nil {
		return nil
	}
	n := dir.children[path.Base(p)]
	if n == nil || n.file.Mode&rpmfile.ModeType != rpmfile.ModeRegular || n.file.Size > 1<<20 {
		return nil
	}
	b, err := s.content(n)
	if err != nil {
		return nil
	}
	return b
}

func (s *Stage) content(n *node) ([]byte, error) {
	if n.data != nil || n.file.Size == 0 {
		return n.data, nil
	}
	b := make([]byte, n.file.Size)
	if _, err := s.spool.ReadAt(b, n.offset); err != nil {
		return nil, &spoolError{err}
	}
	return b, nil
}

// ids reads names and numbers of /etc/passwd or /etc/group.
func (s *Stage) ids(file string) map[string]int {
	out := map[string]int{"root": 0}
	for line := range strings.Lines(string(s.lookup(file))) {
		w := strings.Split(line, ":")
		if len(w) > 2 {
			if n, err := strconv.Atoi(w[2]); err == nil && n >= 0 && n < 1<<31 {
				out[w[0]] = n
			}
		}
	}
	return out
}

// Write writes the layer: parents before children, names in byte order. An owner
// that the stage's own /etc/passwd and /etc/group do not know is root.
func (s *Stage) Write(ctx context.Context, w io.Writer) (entries int, err error) {
	e := &emitter{ctx: ctx, s: s, tw: tar.NewWriter(w), users: s.ids("/etc/passwd"), groups: s.ids("/etc/group")}
	if err := e.walk(s.root, ""); err != nil {
		return 0, err
	}
	return e.n, e.tw.Close()
}

type emitter struct {
	ctx           context.Context
	s             *Stage
	tw            *tar.Writer
	users, groups map[string]int
	n             int
}

func (e *emitter) walk(n *node, p string) error {
	if err := e.write(n, p); err != nil {
		return fmt.Errorf("write /%s: %w", p, err)
	}
	if p != "" {
		p += "/"
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if err := e.walk(n.children[name], p+name); err != nil {
			return err
		}
	}
	return nil
}

func (e *emitter) write(n *node, p string) error {
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	src := n
	if n.target != nil {
		src = n.target
	}
	f := src.file
	h := &tar.Header{Name: p, Mode: int64(f.Mode & 0o7777), Uid: e.users[f.User], Gid: e.groups[f.Group],
		ModTime: time.Unix(max(0, min(f.MTime, e.s.epoch)), 0)}
	switch f.Mode & rpmfile.ModeType {
	case rpmfile.ModeDir:
		h.Typeflag = tar.TypeDir
		if h.Name += "/"; p == "" {
			h.Name = "./"
		}
	case rpmfile.ModeLink:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
	case rpmfile.ModeChar, rpmfile.ModeBlock:
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, int64(f.Rdev>>8), int64(f.Rdev&255)
		if f.Mode&rpmfile.ModeType == rpmfile.ModeBlock {
			h.Typeflag = tar.TypeBlock
		}
	case rpmfile.ModeFIFO:
		h.Typeflag = tar.TypeFifo
	case rpmfile.ModeSocket:
		return nil // tar has none
	default:
		if src.written != "" {
			h.Typeflag, h.Linkname = tar.TypeLink, src.written
			e.n++
			return e.tw.WriteHeader(h)
		}
		if n.target != nil {
			src.written = p
		}
		h.Typeflag, h.Size = tar.TypeReg, f.Size
	}
	if src.caps != "" {
		h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": src.caps}
	}
	e.n++
	if err := e.tw.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	if src.data != nil {
		_, err := e.tw.Write(src.data)
		return err
	}
	if src.local != "" {
		in, err := os.Open(src.local)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.CopyN(e.tw, in, f.Size)
		return err
	}
	_, err := io.Copy(e.tw, io.NewSectionReader(e.s.spool, src.offset, f.Size))
	return err
}
