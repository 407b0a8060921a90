package unpack

import (
	"archive/tar"
	"context"
	"io"
	"strings"
)

// Script is a maintainer script to run.
type Script struct {
	// ID is the package as dpkg's files name it ("libc6:amd64"), Name and Arch
	// what the script is told.
	ID   string `json:"id"`
	Name string `json:"name"`
	Arch string `json:"arch"`
}

// Phase is a set of packages to configure together.
type Phase struct {
	// Preinst are the scripts to run with "install" before, in order.
	Preinst []Script `json:"preinst,omitempty"`
	// Status is the file, below the root, that holds the status of the phase's
	// packages; it has to be appended to /var/lib/dpkg/status and removed
	// before. Empty for the first phase.
	Status string `json:"status,omitempty"`
}

// Summary is what was written and what is left to do in the root.
type Summary struct {
	Entries int     `json:"entries"`
	Size    int64   `json:"size"` // of file contents, bytes
	Phases  []Phase `json:"phases"`
}

// Finish writes the layer of all packages added. progress, which may be nil, gets
// the bytes of content written and their total. The tar is the same for the same
// packages and options.
func (u *Unpacker) Finish(ctx context.Context, w io.Writer, progress func(done, total int64)) (Summary, error) {
	var s Summary
	for range cap(u.workers) {
		k := <-u.workers
		err := k.spool.flush()
		u.workers <- k
		if err != nil {
			return s, err
		}
	}
	pkgs := u.sorted()
	g := newGraph(pkgs)
	for p := range closure(essentials(pkgs), g.all) {
		p.base = true
	}
	t, err := u.tree(pkgs)
	if err != nil {
		return s, err
	}
	parts := phases(pkgs, g)
	for i, part := range parts {
		p := Phase{Preinst: preinsts(part, g)}
		if i > 0 {
			p.Status = "/" + statusPart(i)
		}
		s.Phases = append(s.Phases, p)
	}
	if err := t.database(u.o, pkgs, parts); err != nil {
		return s, err
	}
	for _, p := range pkgs {
		for _, e := range p.entries {
			s.Size += e.size
		}
	}
	s.Entries, err = t.emit(ctx, w, u.o.Epoch.Unix(), func(done int64) {
		if progress != nil {
			progress(done, s.Size)
		}
	})
	return s, err
}

// tree lays the packages over each other.
func (u *Unpacker) tree(pkgs []*pkg) (*tree, error) {
	t := newTree(u.o.Epoch.Unix(), replaces)
	if u.o.MergedUsr {
		used := map[string]bool{}
		for _, p := range pkgs {
			for _, e := range p.entries {
				top, _, _ := strings.Cut(e.path, "/")
				used[top] = true
			}
		}
		if err := t.merge(used); err != nil {
			return nil, err
		}
	}
	for _, p := range pkgs {
		if err := t.add(p); err != nil {
			return nil, err
		}
	}
	return t, t.accounts()
}

// accounts puts base-passwd's users and groups in place, as its preinst or, in
// older releases, the installer does: scripts of other packages need them.
func (t *tree) accounts() error {
	for _, name := range []string{"passwd", "group"} {
		master := t.lookup("usr/share/base-passwd/" + name + ".master")
		if master == nil || master.e.kind != tar.TypeReg || t.lookup("etc/"+name) != nil {
			continue
		}
		data, err := master.read()
		if err != nil {
			return err
		}
		if _, err := t.put("etc/"+name, 0o644, data); err != nil {
			return err
		}
	}
	return nil
}

// replaces says whether a may overwrite files of b.
func replaces(a, b *pkg) bool {
	for _, group := range relations(a.control.get("Replaces")) {
		r := group[0]
		if r.name == b.Name && satisfies(b.Version, r.op, r.version) {
			return true
		}
		if r.op != "" {
			continue
		}
		// A name that b provides, without a version.
		for _, provided := range relations(b.control.get("Provides")) {
			if provided[0].name == r.name {
				return true
			}
		}
	}
	return false
}
