package unpack

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
)

// Options of an Unpacker.
type Options struct {
	// Arch in apk's terms, "x86_64".
	Arch string
	// Version3: the root's own apk is of version 3, which keeps its scripts
	// compressed (and reads the other form too), and keeps files called .keep_….
	Version3 bool
	// World are the lines of /etc/apk/world, in their order.
	World []string
	// Epoch bounds time stamps.
	Epoch time.Time
	// SpoolDir is where contents wait, on a disk with room for all packages.
	SpoolDir string
}

// Unpacker takes packages in the order in which apk installs them.
type Unpacker struct {
	o     Options
	spool *spool
	root  *node
	pkgs  []*installed
}

// installed is one package of the database.
type installed struct {
	*index.Package
	c *index.Control
	// dirs in the order of the archive, with the files below each.
	dirs   []*ownedDir
	byPath map[string]*ownedDir
}

type ownedDir struct {
	path  string
	head  *acl // nil: only files below it are the package's
	files []*ownedFile
}

type ownedFile struct {
	name string
	node *node
}

// acl is what the database keeps of a directory besides its path.
type acl struct {
	mode   int64
	owner  owner
	xattrs map[string]string
}

// New makes an unpacker. Close it.
func New(o Options) (*Unpacker, error) {
	s, err := newSpool(o.SpoolDir)
	if err != nil {
		return nil, err
	}
	return &Unpacker{o: o, spool: s, root: newDir("")}, nil
}

// Close frees the disk.
func (u *Unpacker) Close() error { return u.spool.f.Close() }

// Add unpacks one package that was verified, again comparing its hashes. The error is
// a *[RefusedError], a *[ConflictError], or the disk's.
func (u *Unpacker) Add(ctx context.Context, p *index.Package, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	c, data, err := p.Open(f, st.Size())
	if err != nil {
		return &RefusedError{Package: p.String(), Reason: "cannot be read", Err: err}
	}
	in := &installed{Package: p, c: c, byPath: map[string]*ownedDir{}}
	err = u.entries(ctx, in, data)
	var refused *RefusedError
	var disk *spoolError
	switch {
	case errors.As(err, &refused):
		refused.Package = p.String()
	case err == nil:
		u.pkgs = append(u.pkgs, in)
	case !errors.As(err, &disk) && ctx.Err() == nil && !errors.As(err, new(*ConflictError)):
		err = &RefusedError{Package: p.String(), Reason: "its data cannot be read", Err: err}
	}
	return err
}

func (u *Unpacker) entries(ctx context.Context, in *installed, data *tar.Reader) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := data.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(h.Name, ".") && !strings.HasPrefix(h.Name, "..") && !strings.HasPrefix(h.Name, "./") {
			continue // apk keeps such names of the top for itself
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			err = u.addDir(in, name, h)
		} else if u.o.Version3 || !strings.HasPrefix(path.Base(name), ".keep_") {
			err = u.addFile(in, name, h, data)
		}
		if err != nil {
			return err
		}
	}
}

// at gives the package's entry for a directory.
func (in *installed) at(dir string) *ownedDir {
	d := in.byPath[dir]
	if d == nil {
		d = &ownedDir{path: dir}
		in.byPath[dir] = d
		in.dirs = append(in.dirs, d)
	}
	return d
}

const paxXattr = "SCHILY.xattr."

func xattrsOf(h *tar.Header) map[string]string {
	var out map[string]string
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxXattr); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = v
		}
	}
	return out
}

func ownerOf(h *tar.Header) owner {
	return owner{uid: h.Uid, gid: h.Gid, user: h.Uname, group: h.Gname}
}

func (u *Unpacker) addDir(in *installed, name string, h *tar.Header) error {
	n, err := u.dir(name, true)
	if err != nil {
		return err
	}
	a := &acl{mode: h.Mode & 0o7777, owner: ownerOf(h), xattrs: xattrsOf(h)}
	in.at(name).head = a
	if !n.owned {
		n.owned, n.mode, n.owner, n.xattrs = true, a.mode, a.owner, a.xattrs
		n.mtime = h.ModTime.Unix()
		return nil
	}
	// Of several owners the one with the lower numbers has it; the same owner's modes
	// count together.
	switch {
	case a.owner.uid < n.owner.uid || a.owner.uid == n.owner.uid && a.owner.gid < n.owner.gid:
		n.owner, n.mode = a.owner, a.mode
	case a.owner.uid == n.owner.uid && a.owner.gid == n.owner.gid:
		n.mode &= a.mode
	}
	n.mtime = max(n.mtime, h.ModTime.Unix())
	return nil
}

func (u *Unpacker) addFile(in *installed, name string, h *tar.Header, data io.Reader) error {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	parent, err := u.dir(dir, true)
	if err != nil {
		return err
	}
	n := &node{name: base, kind: h.Typeflag, mode: h.Mode & 0o7777, owner: ownerOf(h), mtime: h.ModTime.Unix(),
		xattrs: xattrsOf(h), pkg: in}
	old := parent.children[base]
	if old != nil {
		if old.kind == tar.TypeDir {
			return refuse(name, "there is a directory of that name")
		}
		keep, err := u.overwrite(old.pkg, in, name)
		if err != nil || keep {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		n.size = h.Size
		if n.offset, n.sum, err = u.spool.add(data, h.Size); err != nil {
			return err
		}
		if err := checkSum(h, n.sum); err != nil {
			return refuse(name, "%v", err)
		}
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > 4000 || strings.ContainsRune(h.Linkname, 0) {
			return refuse(name, "a symbolic link to nowhere")
		}
		n.link, n.sum = h.Linkname, linkSum(h.Linkname)
	case tar.TypeLink:
		if n.target = in.file(h.Linkname); n.target == nil {
			return refuse(name, "a hard link to %.100q, which is no file of the package before it", h.Linkname)
		}
		n.sum = n.target.sum
	case tar.TypeChar, tar.TypeBlock:
		n.major, n.minor = h.Devmajor, h.Devminor
	case tar.TypeFifo:
	default:
		return refuse(name, "an entry of unknown type %q", h.Typeflag)
	}
	if old != nil {
		old.pkg.drop(old)
	}
	parent.children[base] = n
	d := in.at(dir)
	d.files = append(d.files, &ownedFile{base, n})
	return nil
}

// checkSum compares a file with the checksum that the package has for it.
func checkSum(h *tar.Header, got string) error {
	want, ok := h.PAXRecords["APK-TOOLS.checksum.SHA1"]
	if !ok {
		return nil
	}
	b, err := hex.DecodeString(want)
	if err != nil || "Q1"+base64.StdEncoding.EncodeToString(b) != got {
		return errors.New("the content is not what its checksum says")
	}
	return nil
}

// file finds a file of the package by its path.
func (in *installed) file(name string) *node {
	dir, base := path.Split(name)
	d := in.byPath[strings.TrimSuffix(dir, "/")]
	if d == nil {
		return nil
	}
	i := slices.IndexFunc(d.files, func(f *ownedFile) bool { return f.name == base })
	if i < 0 || d.files[i].node.kind != tar.TypeReg && d.files[i].node.kind != tar.TypeLink {
		return nil
	}
	if t := d.files[i].node.target; t != nil {
		return t
	}
	return d.files[i].node
}

// drop takes a file from the package: another one has it now.
func (in *installed) drop(n *node) {
	for _, d := range in.dirs {
		d.files = slices.DeleteFunc(d.files, func(f *ownedFile) bool { return f.node == n })
	}
}

// overwrite decides between two packages with the same file, as apk does: keep says
// that the first one's stays.
func (u *Unpacker) overwrite(old, in *installed, name string) (keep bool, err error) {
	if old == in || old.Origin == in.Origin && in.Origin != "" {
		return false, nil
	}
	rank := func(a, b *installed) int {
		for _, d := range a.c.Replaces {
			if d.Name == b.Name && !d.Conflict && d.Provided(b.Version, b.Package) {
				return a.c.Priority
			}
		}
		return -1
	}
	olds, news := rank(old, in), rank(in, old)
	switch {
	case olds > news:
		return true, nil
	case news >= 0:
		return false, nil
	}
	return false, &ConflictError{Path: "/" + name, First: old.String(), Second: in.String()}
}
