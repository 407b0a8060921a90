package unpack

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
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
