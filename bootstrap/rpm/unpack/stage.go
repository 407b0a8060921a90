package unpack

import (
	"archive/tar"
	"bytes"
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

// node is one path of the stage.
type node struct {
	file     rpmfile.File
	pkg      string
	children map[string]*node
	offset   int64  // in the spool
	data     []byte // instead of the spool
	local    string // file of the host, instead of the spool
	target   *node  // of a hard link
	written  string // path under which a file with links was written
	caps     string
}

// Stage collects files and writes them as a layer. It is not safe for several
// goroutines at once.
type Stage struct {
	root  *node
	spool *os.File
	end   int64
	epoch int64
}

// NewStage makes an empty stage. dir is where contents wait, in a file without a
// name; epoch bounds time stamps.
func NewStage(dir string, epoch time.Time) (*Stage, error) {
	f, err := os.CreateTemp(dir, ".spool-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	s := &Stage{spool: f, epoch: epoch.Unix()}
	s.root = s.newDir()
	return s, nil
}

// Close frees the spool.
func (s *Stage) Close() error { return s.spool.Close() }

func (s *Stage) newDir() *node {
	return &node{file: rpmfile.File{Mode: rpmfile.ModeDir | 0o755, User: "root", Group: "root", MTime: s.epoch}, children: map[string]*node{}}
}

// spoolError keeps errors of the disk apart from those of a package.
type spoolError struct{ err error }

func (e *spoolError) Error() string { return "spool file: " + e.err.Error() }
func (e *spoolError) Unwrap() error { return e.err }

// Add lays a package's files into the stage. limit bounds what it may unpack to, in
// bytes. What two packages have is the later one's: the stage is thrown away, and
// rpm itself decides in the root. Errors of the package match [ErrRefused].
func (s *Stage) Add(ctx context.Context, label string, p *rpmfile.Package, payload []byte, limit int64) error {
	err := s.add(ctx, label, p, payload, limit)
	switch err.(type) {
	case nil, *spoolError, *RefusedError:
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &RefusedError{Package: label, Err: err}
}

func (s *Stage) add(ctx context.Context, label string, p *rpmfile.Package, payload []byte, limit int64) error {
	files, err := p.Files()
	if err != nil {
		return err
	}
	nodes := make([]*node, len(files))
	inodes := map[uint64]*node{}
	err = p.Payload(bytes.NewReader(payload), files, limit, func(i int, n int64, content io.Reader) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f := files[i]
		d := &node{file: f, pkg: label}
		if d.caps, err = capability(f.Caps); err != nil {
			return err
		}
		switch f.Mode & rpmfile.ModeType {
		case rpmfile.ModeDir:
			d.children = map[string]*node{}
		case rpmfile.ModeLink:
			if f.Link == "" || len(f.Link) > 4095 {
				return refuse(label, "%s is a symbolic link to an impossible path", f.Path)
			}
		case rpmfile.ModeRegular:
			if n == 0 && f.Size > 0 { // a link to a file further down
				if inodes[f.Inode] == nil {
					inodes[f.Inode] = &node{}
				}
				d.target = inodes[f.Inode]
				break
			}
			if n != f.Size {
				return refuse(label, "%s has %d bytes, its header says %d", f.Path, n, f.Size)
			}
			d.offset = s.end
			w := &counter{f: s.spool}
			if _, err := io.Copy(w, content); err != nil {
				if w.err != nil {
					return &spoolError{w.err}
				}
				return err
			}
			if s.end += w.n; w.n != n {
				return io.ErrUnexpectedEOF
			}
			if links := inodes[f.Inode]; links != nil {
				*links = *d
				d.target = links
			}
		case rpmfile.ModeChar, rpmfile.ModeBlock, rpmfile.ModeFIFO, rpmfile.ModeSocket:
		default:
			return refuse(label, "%s is of the unknown type %#o", f.Path, f.Mode)
		}
		nodes[i] = d
		return nil
	})
	if err != nil {
		return err
	}
	// The directories first, as rpm makes them.
	order := make([]int, 0, len(nodes))
	for i, n := range nodes {
		if n != nil {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(files[a].Path, files[b].Path) })
	for _, i := range order {
		if t := nodes[i].target; t != nil && t.file.Path == "" {
			return refuse(label, "%s is a hard link to nothing", files[i].Path)
		}
		if err := s.put(label, files[i].Path, nodes[i]); err != nil {
			return err
		}
	}
	return nil
}

type counter struct {
	f   *os.File
	n   int64
	err error
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.f.Write(b)
	c.n += int64(n)
	c.err = err
	return n, err
}

// put places a node, following symbolic links of the stage in its parents.
func (s *Stage) put(label, p string, n *node) error {
	if p == "/" {
		return nil
	}
	dir, err := s.dir(label, path.Dir(p))
	if err != nil {
		return err
	}
	base := path.Base(p)
	if strings.HasPrefix(base, ".wh.") {
		return refuse(label, "%s has a name that layers keep for themselves (OCI image-spec, whiteouts)", p)
	}
	old := dir.children[base]
	switch {
	case old == nil:
	case old.children != nil && n.children != nil:
		old.file, old.caps = n.file, n.caps
		return nil
	case old.children != nil && n.file.Mode&rpmfile.ModeType == rpmfile.ModeLink && len(old.children) == 0:
	case old.children != nil:
		return refuse(label, "%s is a directory of another package", p)
	case n.children != nil && old.file.Mode&rpmfile.ModeType == rpmfile.ModeLink:
		return nil // a link to a directory stays
	}
	dir.children[base] = n
	return nil
}

// maxLinks is how many symbolic links may be followed, as in Linux.
const maxLinks = 40

func (s *Stage) dir(label, p string) (*node, error) {
	links := 0
	stack := []*node{s.root}
	todo := strings.Split(p, "/")
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		cur := stack[len(stack)-1]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		}
		next := cur.children[part]
		if next == nil {
			next = s.newDir()
			cur.children[part] = next
		}
		if next.file.Mode&rpmfile.ModeType == rpmfile.ModeLink {
			if links++; links > maxLinks {
				return nil, refuse(label, "%s leads through too many symbolic links", p)
			}
			if strings.HasPrefix(next.file.Link, "/") {
				stack = stack[:1]
			}
			todo = append(strings.Split(next.file.Link, "/"), todo...)
			continue
		}
		if next.children == nil {
			return nil, refuse(label, "%s leads through a file", p)
		}
		stack = append(stack, next)
	}
	return stack[len(stack)-1], nil
}

// PutFile makes a file of the stage's own, root:root.
func (s *Stage) PutFile(p string, mode uint32, data []byte) error {
	return s.put("stage", p, &node{file: rpmfile.File{Path: p, Mode: rpmfile.ModeRegular | mode, User: "root", Group: "root", MTime: s.epoch, Size: int64(len(data))}, data: data})
}

// PutLocal makes a file of the stage's own, root:root, with the content of a file of
// the host, which has size bytes and stays until [Stage.Write].
func (s *Stage) PutLocal(p, local string, size int64) error {
	return s.put("stage", p, &node{file: rpmfile.File{Path: p, Mode: rpmfile.ModeRegular | 0o644, User: "root", Group: "root", MTime: s.epoch, Size: size}, local: local})
}

// PutDir makes a directory of the stage's own, root:root.
func (s *Stage) PutDir(p string, mode uint32) error {
	d := s.newDir()
	d.file.Mode = rpmfile.ModeDir | mode
	return s.put("stage", p, d)
}

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
