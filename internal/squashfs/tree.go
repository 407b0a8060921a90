package squashfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

var le = binary.LittleEndian

// kindLink is a name for an inode that is under another path; only until Close.
const kindLink = 0

// inode is a file of any kind, under one name or several.
type inode struct {
	kind, mode       uint16
	uid, gid         uint16 // indexes of the id table
	made             bool   // stands in for an entry that did not come so far
	written          bool   // is in the inode table
	mtime            uint32
	xattr            uint32 // index of the attribute sets
	links            uint32
	number           uint32
	device           uint32
	fragment, offset uint32
	size             uint64
	ref              uint64 // place in the inode table, once it is there
	target           string // of a symbolic link, or the path of a hard link
	content          *content
	children         map[string]*inode
	names            []name // the children sorted, when all are there
}

type name struct {
	name string
	*inode
}

// tree is the hierarchy and the tables its inodes index.
type tree struct {
	root    *inode
	ids     []uint32
	idIndex map[uint32]uint16
	xattrs  []xattrSet
	setIdx  map[string]uint32
	links   bool // there are hard links
	count   uint32
}

func newTree() tree {
	return tree{root: &inode{kind: kindDir, mode: 0o755, made: true, xattr: noXattr, fragment: noFragment},
		idIndex: map[uint32]uint16{}, setIdx: map[string]uint32{}}
}

// id gives the index of a user or group.
func (t *tree) id(e *Entry, id uint32) (uint16, error) {
	if i, ok := t.idIndex[id]; ok {
		return i, nil
	}
	if len(t.ids) == maxIDs {
		return 0, &EntryError{Path: e.Path, Reason: fmt.Sprintf("owner %d is one more than the %d users and groups an image can have", id, maxIDs)}
	}
	i := uint16(len(t.ids))
	t.ids, t.idIndex[id] = append(t.ids, id), i
	return i, nil
}

// node makes the inode of an entry, without content.
func (t *tree) node(e *Entry, epoch time.Time) (*inode, error) {
	if e.HardLink != "" {
		if _, err := cleanPath(e.HardLink); err != nil {
			return nil, err
		}
		return &inode{kind: kindLink, target: e.HardLink}, nil
	}
	kind, err := e.kind()
	if err != nil {
		return nil, err
	}
	if err := e.check(kind); err != nil {
		return nil, err
	}
	n := &inode{kind: kind, mode: unixMode(e.Mode), mtime: seconds(e.ModTime), xattr: noXattr, fragment: noFragment}
	if s := seconds(epoch); s != 0 {
		n.mtime = min(n.mtime, s)
	}
	if kind == kindSymlink {
		n.target = strings.Clone(e.Target)
	}
	if kind == kindBlock || kind == kindChar {
		n.device = device(e.Major, e.Minor)
	}
	if len(e.Xattrs) > 0 {
		if n.xattr, err = t.xattrSet(e); err != nil {
			return nil, err
		}
	}
	if n.uid, err = t.id(e, e.UID); err != nil {
		return nil, err
	}
	n.gid, err = t.id(e, e.GID)
	return n, err
}

// check says whether n may stand at that path.
func (t *tree) check(path string, names []string, n *inode) error {
	at := t.root
	for i, name := range names {
		if at.kind != kindDir {
			return &EntryError{Path: path, Reason: fmt.Sprintf("%q is no directory", strings.Join(names[:i], "/"))}
		}
		if at = at.children[name]; at == nil {
			return nil
		}
	}
	switch {
	case at.made && n.kind == kindDir:
		return nil
	case at.made:
		return &EntryError{Path: path, Reason: "is a directory, for other entries are in it"}
	}
	return &EntryError{Path: path, Reason: "there is an entry of that path already"}
}

// put places a node that check let through.
func (t *tree) put(names []string, n *inode) {
	if len(names) == 0 {
		n.children = t.root.children
		t.root = n
		return
	}
	at := t.root
	for _, name := range names[:len(names)-1] {
		next := at.children[name]
		if next == nil {
			next = &inode{kind: kindDir, mode: 0o755, made: true, xattr: noXattr, fragment: noFragment}
			at.set(name, next)
		}
		at = next
	}
	name := names[len(names)-1]
	if old := at.children[name]; old != nil {
		n.children = old.children
	}
	at.set(name, n)
	t.links = t.links || n.kind == kindLink
}

func (n *inode) set(name string, child *inode) {
	if n.children == nil {
		n.children = map[string]*inode{}
	}
	// The name must not keep the whole path alive.
	n.children[strings.Clone(name)] = child
}

// settle ends the building: hard links join their inodes, stand-ins get owners,
// names are sorted and inodes numbered, in the order they will be written.
func (t *tree) settle(epoch time.Time) (*inode, error) {
	if t.links {
		if err := t.resolve("", t.root); err != nil {
			return nil, err
		}
	}
	if t.root.kind != kindDir {
		return nil, &EntryError{Path: ".", Reason: "the root is no directory"}
	}
	return t.root, t.number(t.root, seconds(epoch))
}

// resolve puts the inode itself in place of each hard link below dir.
func (t *tree) resolve(path string, dir *inode) error {
	for _, name := range slices.Sorted(maps.Keys(dir.children)) {
		n := dir.children[name]
		switch at := path + name; n.kind {
		case kindDir:
			if err := t.resolve(at+"/", n); err != nil {
				return err
			}
		case kindLink:
			to, err := t.find(at, n)
			if err != nil {
				return err
			}
			dir.children[name] = to
		}
	}
	return nil
}

// find follows a hard link, also by way of others.
func (t *tree) find(path string, link *inode) (*inode, error) {
	bad := func(reason string) (*inode, error) {
		return nil, &EntryError{Path: path, Reason: fmt.Sprintf("hard link to %q: %s", link.target, reason)}
	}
	at := link
	for hops := 0; at.kind == kindLink; hops++ {
		if hops > 1000 {
			return bad("links go round in a circle")
		}
		names, _ := cleanPath(at.target)
		next := t.root
		for _, name := range names {
			if next = next.children[name]; next == nil {
				return bad("there is no such entry")
			}
		}
		at = next
	}
	if at.kind == kindDir {
		return bad("it is a directory")
	}
	return at, nil
}

// number sorts and counts what is below a directory, and it itself last.
func (t *tree) number(dir *inode, now uint32) error {
	if dir.made {
		e := &Entry{Path: "."}
		var err error
		if dir.uid, err = t.id(e, 0); err != nil {
			return err
		}
		dir.gid, dir.mtime = dir.uid, now
	}
	dir.links = 2
	dir.names = make([]name, 0, len(dir.children))
	for _, n := range slices.Sorted(maps.Keys(dir.children)) {
		dir.names = append(dir.names, name{n, dir.children[n]})
	}
	dir.children = nil
	for _, n := range dir.names {
		if n.kind == kindDir {
			dir.links++
			if err := t.number(n.inode, now); err != nil {
				return err
			}
		}
	}
	for _, n := range dir.names {
		if n.kind == kindDir {
			continue
		}
		if n.links++; n.number == 0 {
			if err := t.next(n.inode); err != nil {
				return err
			}
		}
	}
	return t.next(dir)
}

func (t *tree) next(n *inode) error {
	if t.count == math.MaxUint32 {
		return fmt.Errorf("squashfs: more than %d files", uint32(math.MaxUint32))
	}
	t.count++
	n.number = t.count
	return nil
}

// xattrSet is the attributes of one or more inodes, as the xattr table has them.
type xattrSet struct {
	count uint32
	data  string
}

// xattrSet gives the index of an entry's attributes; the same ones are kept once.
func (t *tree) xattrSet(e *Entry) (uint32, error) {
	var b bytes.Buffer
	for _, full := range slices.Sorted(maps.Keys(e.Xattrs)) {
		v := e.Xattrs[full]
		kind, rest, ok := xattrPrefix(full)
		switch {
		case !ok:
			return 0, &XattrError{e.Path, full, "squashfs keeps user.*, trusted.* and security.* only"}
		case len(full) > maxName || strings.IndexByte(full, 0) >= 0:
			return 0, &XattrError{e.Path, full, "name is longer than 255 bytes or has a NUL byte"}
		case len(v) > 1<<16:
			return 0, &XattrError{e.Path, full, fmt.Sprintf("value has %d bytes, Linux allows 65536", len(v))}
		}
		b.Write(le.AppendUint16(le.AppendUint16(nil, kind), uint16(len(rest))))
		b.WriteString(rest)
		b.Write(le.AppendUint32(nil, uint32(len(v))))
		b.Write(v)
		if b.Len() > maxXattrs {
			return 0, &XattrError{e.Path, full, "with it the entry's attributes are longer than 1 MiB"}
		}
	}
	if i, ok := t.setIdx[b.String()]; ok {
		return i, nil
	}
	i := uint32(len(t.xattrs))
	data := b.String()
	t.xattrs, t.setIdx[data] = append(t.xattrs, xattrSet{uint32(len(e.Xattrs)), data}), i
	return i, nil
}
