package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // the database's own
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
)

// database gives the files of apk's own records (apk-tools' database.c is what reads
// them): /lib/apk/db and /etc/apk.
func (u *Unpacker) database() (map[string][]byte, error) {
	pkgs := slices.Clone(u.pkgs)
	slices.SortFunc(pkgs, func(a, b *installed) int { return strings.Compare(a.Name, b.Name) })
	var db, triggers bytes.Buffer
	for _, in := range pkgs {
		in.write(&db)
		if len(in.c.Triggers) > 0 {
			fmt.Fprintf(&triggers, "%s %s\n", in.Checksum, strings.Join(in.c.Triggers, " "))
		}
	}
	scripts, err := scriptsTar(pkgs)
	if err != nil {
		return nil, err
	}
	name := "lib/apk/db/scripts.tar"
	if u.o.Version3 {
		name += ".gz"
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(scripts) // a bytes.Buffer does not fail
		w.Close()
		scripts = z.Bytes()
	}
	return map[string][]byte{
		"lib/apk/db/installed": db.Bytes(),
		"lib/apk/db/triggers":  triggers.Bytes(),
		name:                   scripts,
		"etc/apk/world":        []byte(strings.Join(u.o.World, "\n") + "\n"),
		"etc/apk/arch":         []byte(u.o.Arch + "\n"),
	}, nil
}

// write is one stanza of the database: the fields of the index, what the package
// replaces, and its directories (F, M) with their files (R, a, Z).
func (in *installed) write(b *bytes.Buffer) {
	line := func(key, value string) { b.WriteString(key + ":" + value + "\n") }
	optional := func(key, value string) {
		if value != "" {
			line(key, value)
		}
	}
	line("C", in.Checksum)
	line("P", in.Name)
	line("V", in.Version)
	optional("A", in.Arch)
	line("S", fmt.Sprint(in.Size))
	line("I", fmt.Sprint(in.InstalledSize))
	line("T", in.Description)
	line("U", in.URL)
	line("L", in.License)
	optional("o", in.Origin)
	optional("m", in.Maintainer)
	if t := in.BuildTime.Unix(); t > 0 {
		line("t", fmt.Sprint(t))
	}
	optional("c", in.Commit)
	if in.ProviderPriority > 0 {
		line("k", fmt.Sprint(in.ProviderPriority))
	}
	optional("D", deps(in.Depends))
	optional("p", deps(in.Provides))
	optional("i", deps(in.IfAll))
	optional("r", deps(in.c.Replaces))
	if in.c.Priority > 0 {
		line("q", fmt.Sprint(in.c.Priority))
	}
	for _, d := range in.dirs {
		if d.head == nil && len(d.files) == 0 {
			continue
		}
		line("F", d.path)
		if d.head != nil && (d.head.mode != 0o755 || !d.head.owner.isRoot() || d.head.xattrs != nil) {
			line("M", ids(d.head.owner, d.head.mode, d.head.xattrs))
		}
		for _, f := range d.files {
			line("R", f.name)
			n := f.node
			if n.mode != 0o644 || !n.owner.isRoot() || n.xattrs != nil {
				line("a", ids(n.owner, n.mode, n.xattrs))
			}
			optional("Z", n.sum)
		}
	}
	b.WriteString("\n")
}

func (o owner) isRoot() bool { return o.uid == 0 && o.gid == 0 && o.user == "" && o.group == "" }

// ids is "uid:gid:mode" and the hash of the extended attributes. A name that only a
// script makes stands in braces, with the number that it has otherwise: the step that
// runs the scripts puts the right one in its place.
func ids(o owner, mode int64, xattrs map[string]string) string {
	uid, gid := fmt.Sprint(o.uid), fmt.Sprint(o.gid)
	if o.user != "" {
		uid = UserMark(o.user, o.uid)
	}
	if o.group != "" {
		gid = GroupMark(o.group, o.gid)
	}
	s := fmt.Sprintf("%s:%s:%o", uid, gid, mode)
	if len(xattrs) > 0 {
		s += ":" + xattrSum(xattrs)
	}
	return s
}

// UserMark stands in the database for a user that a script makes.
func UserMark(name string, uid int) string { return fmt.Sprintf("{u=%s=%d}", name, uid) }

// GroupMark stands in the database for a group that a script makes.
func GroupMark(name string, gid int) string { return fmt.Sprintf("{g=%s=%d}", name, gid) }

// xattrSum hashes names and values, each with its length before it.
func xattrSum(xattrs map[string]string) string {
	h := sha1.New() //nolint:gosec // see above
	for _, k := range slices.Sorted(maps.Keys(xattrs)) {
		for _, s := range []string{k, xattrs[k]} {
			binary.Write(h, binary.BigEndian, uint32(len(s)))
			h.Write([]byte(s))
		}
	}
	return "Q1" + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func deps(list []index.Dep) string {
	var out []string
	for _, d := range list {
		out = append(out, d.String())
	}
	return strings.Join(out, " ")
}

// scriptsTar holds the scripts as NAME-VERSION.CHECKSUM.KIND. The checksum is in hex,
// which both versions of apk read.
func scriptsTar(pkgs []*installed) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, in := range pkgs {
		sum, err := in.Sum()
		if err != nil {
			return nil, err
		}
		for _, kind := range index.ScriptNames() {
			s, ok := in.c.Scripts[kind]
			if !ok {
				continue
			}
			h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%s-%s.%s.%s", in.Name, in.Version, hexSum(sum), kind),
				Mode: 0o755, Size: int64(len(s)), ModTime: in.BuildTime, Format: tar.FormatUSTAR}
			if len(h.Name) > 100 {
				h.Format = tar.FormatGNU
			}
			if err := w.WriteHeader(h); err != nil {
				return nil, err
			}
			w.Write(s) // a bytes.Buffer does not fail
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
