package unpack

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// ScriptDir is where apk runs scripts from; the layer has them there, and the step
// that runs them removes it.
const ScriptDir = "/lib/apk/exec"

// Script is one script to run.
type Script struct {
	// Path of the script, and its package and kind.
	Path, Package, Version, Kind string
	// Args are the arguments: the version for an install script, the directories that
	// changed for a trigger.
	Args []string
}

// Summary says what the layer holds and what is still to be done.
type Summary struct {
	// Scripts to run, in order: those of installing package by package, then
	// triggers.
	Scripts []Script
	// Late are paths whose owners scripts make.
	Late []Late
	// Entries of the layer, and Size of its contents in bytes.
	Entries int
	Size    int64
}

// Finish writes the layer as a tar: parents before children, names in byte order.
func (u *Unpacker) Finish(ctx context.Context, w io.Writer) (Summary, error) {
	var sum Summary
	sum.Scripts = u.scripts()
	if err := u.resolveOwners(len(sum.Scripts) > 0); err != nil {
		return sum, err
	}
	var err error
	if sum.Late, err = u.late(); err != nil {
		return sum, err
	}
	files, err := u.database()
	if err != nil {
		return sum, err
	}
	for name, data := range files {
		if err := u.put(name, data, 0o644); err != nil {
			return sum, err
		}
	}
	if err := u.put("lib/apk/db/lock", nil, 0o600); err != nil {
		return sum, err
	}
	if _, err := u.dir("var/cache/apk", true); err != nil {
		return sum, err
	}
	for _, s := range sum.Scripts {
		in := u.pkgs[slices.IndexFunc(u.pkgs, func(p *installed) bool { return p.Name == s.Package })]
		if err := u.put(strings.TrimPrefix(s.Path, "/"), in.c.Scripts[s.Kind], 0o755); err != nil {
			return sum, err
		}
	}
	em := &emitter{u: u, ctx: ctx, tw: tar.NewWriter(w), written: map[*node]string{}, buf: make([]byte, 256<<10)}
	if err := em.walk(u.root, ""); err != nil {
		return sum, err
	}
	sum.Entries, sum.Size = em.entries, em.size
	return sum, em.tw.Close()
}

// put makes a file of our own, over one of a package, as apk's own records are.
func (u *Unpacker) put(name string, data []byte, mode int64) error {
	dir, err := u.dir(path.Dir(name), true)
	if err != nil {
		return err
	}
	if old := dir.children[path.Base(name)]; old != nil && old.kind == tar.TypeDir {
		return refuse(name, "there is a directory of that name")
	}
	dir.children[path.Base(name)] = &node{name: path.Base(name), kind: tar.TypeReg, mode: mode, data: data,
		size: int64(len(data)), mtime: u.o.Epoch.Unix()}
	return nil
}

// scripts lists what apk would run.
func (u *Unpacker) scripts() []Script {
	var out []Script
	add := func(in *installed, kind string, args []string) {
		if in.c.Scripts[kind] != nil {
			out = append(out, Script{Path: ScriptDir + "/" + in.Name + "-" + in.Version + "." + kind,
				Package: in.Name, Version: in.Version, Kind: kind, Args: args})
		}
	}
	for _, in := range u.pkgs {
		add(in, "pre-install", []string{in.Version})
		add(in, "post-install", []string{in.Version})
	}
	dirs := u.ownedDirs()
	for _, in := range u.pkgs {
		var hit []string
		for _, d := range dirs {
			if slices.ContainsFunc(in.c.Triggers, func(pattern string) bool { return triggers(pattern, d) }) {
				hit = append(hit, d)
			}
		}
		if len(hit) > 0 {
			add(in, "trigger", hit)
		}
	}
	return out
}

// ownedDirs are the directories of all packages with a leading slash, sorted.
func (u *Unpacker) ownedDirs() []string {
	var out []string
	for _, in := range u.pkgs {
		for _, d := range in.dirs {
			out = append(out, "/"+d.path)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// triggers says whether a pattern of fnmatch(3) matches a directory; '*' does not
// match '/'. A '+' before it means only directories that changed: in a new root all
// have.
func triggers(pattern, dir string) bool {
	pattern = strings.TrimPrefix(pattern, "+")
	if !strings.HasPrefix(pattern, "/") {
		return false
	}
	ok, err := path.Match(pattern, dir)
	return ok && err == nil
}

// emitter writes a tree as a tar.
type emitter struct {
	u       *Unpacker
	ctx     context.Context
	tw      *tar.Writer
	written map[*node]string // first path of files
	buf     []byte
	entries int
	size    int64
}

func (em *emitter) walk(n *node, name string) error {
	if err := em.write(n, name); err != nil {
		return fmt.Errorf("write /%s: %w", name, err)
	}
	if name != "" {
		name += "/"
	}
	for _, c := range n.sorted() {
		if err := em.walk(c, name+c.name); err != nil {
			return err
		}
	}
	return nil
}

func (em *emitter) write(n *node, name string) error {
	if em.ctx.Err() != nil {
		return context.Cause(em.ctx)
	}
	em.entries++
	h := &tar.Header{Typeflag: n.kind, Name: name, Mode: n.mode, Uid: n.owner.uid, Gid: n.owner.gid, Format: tar.FormatPAX,
		ModTime: time.Unix(max(0, min(n.mtime, em.u.o.Epoch.Unix())), 0)}
	file := n
	switch n.kind {
	case tar.TypeDir:
		h.Name += "/"
		if name == "" {
			h.Name = "./"
		}
		if n.mtime == 0 {
			h.ModTime = em.u.o.Epoch
		}
	case tar.TypeSymlink:
		h.Linkname, h.Mode = n.link, 0o777
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = n.major, n.minor
	case tar.TypeLink:
		file = n.target
		if first, ok := em.written[file]; ok {
			h.Linkname, h.Mode = first, file.mode
			return em.tw.WriteHeader(h)
		}
		h.Mode = file.mode // the name that comes first in the tar carries the content
		h.Uid, h.Gid, h.Typeflag = file.owner.uid, file.owner.gid, tar.TypeReg
	case tar.TypeReg:
		if first, ok := em.written[n]; ok {
			h.Typeflag, h.Linkname = tar.TypeLink, first
			return em.tw.WriteHeader(h)
		}
	}
	for k, v := range file.xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+k] = v
	}
	if h.Typeflag != tar.TypeReg {
		return em.tw.WriteHeader(h)
	}
	em.written[file] = name
	h.Size = file.size
	if err := em.tw.WriteHeader(h); err != nil {
		return err
	}
	return em.content(file)
}

func (em *emitter) content(n *node) error {
	em.size += n.size
	if n.data != nil {
		_, err := em.tw.Write(n.data)
		return err
	}
	for off, left := n.offset, n.size; left > 0; {
		p := em.buf[:min(int64(len(em.buf)), left)]
		if _, err := em.u.spool.f.ReadAt(p, off); err != nil {
			return &spoolError{err}
		}
		if _, err := em.tw.Write(p); err != nil {
			return err
		}
		off, left = off+int64(len(p)), left-int64(len(p))
	}
	return nil
}
