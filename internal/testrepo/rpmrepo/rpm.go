package rpmrepo

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/cfbuild/cfbuild/internal/rpmfile"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// File is a file of a package.
type File struct {
	rpmfile.File
	Data []byte
}

// RPM is a package. Zero fields get ordinary values.
type RPM struct {
	Name string
	// Version and Release default to 1; Epoch 0 is none; Arch defaults to noarch.
	Version, Release, Arch string
	Epoch                  uint32
	// Dependencies are as in a spec file: "b >= 2", "(a if b)", "/bin/sh".
	Requires, Provides, Conflicts, Obsoletes, Recommends, Supplements []string
	// Files are sorted by path when the package is built.
	Files []File
	// Scripts of /bin/sh; with "<lua>" as first line for rpm's own Lua.
	Pre, Post, PostTrans string
	// Compression of the payload: "" (zstd), "gzip", "xz", "identity".
	Compression string
	// Key signs header, and header and payload too with V3. Nil: unsigned.
	Key *Key
	V3  bool
	// Tags are further values, in the end; nil takes one away.
	Tags rpmfile.Values
	// Payload replaces the archive, before compression.
	Payload []byte
}

// Regular is a file root:root 0644.
func Regular(name, data string) File {
	return File{rpmfile.File{Path: name, Mode: rpmfile.ModeRegular | 0o644}, []byte(data)}
}

// Exec is a file root:root 0755.
func Exec(name, data string) File {
	return File{rpmfile.File{Path: name, Mode: rpmfile.ModeRegular | 0o755}, []byte(data)}
}

// Dir is a directory root:root 0755.
func Dir(name string) File {
	return File{rpmfile.File{Path: name, Mode: rpmfile.ModeDir | 0o755}, nil}
}

// Symlink is a symbolic link.
func Symlink(name, target string) File {
	return File{rpmfile.File{Path: name, Mode: rpmfile.ModeLink | 0o777, Link: target}, nil}
}

// NEVRA is name-version-release.arch, the name of the file without its ending.
func (r RPM) NEVRA() string { return r.Name + "-" + r.vr() + "." + r.arch() }

func (r RPM) vr() string   { return cmp.Or(r.Version, "1") + "-" + cmp.Or(r.Release, "1") }
func (r RPM) arch() string { return cmp.Or(r.Arch, "noarch") }

func (r RPM) evr() string {
	if r.Epoch != 0 {
		return fmt.Sprintf("%d:%s", r.Epoch, r.vr())
	}
	return r.vr()
}

// Build makes the file.
func (r RPM) Build(t testing.TB) []byte {
	t.Helper()
	files := slices.Clone(r.Files)
	slices.SortStableFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	payload := r.Payload
	if payload == nil {
		var plain []rpmfile.File
		for _, f := range files {
			plain = append(plain, f.file())
		}
		payload = rpmfile.Cpio(plain, func(i int) []byte { return files[i].Data })
	}
	compressor, packed := pack(t, r.Compression, payload)
	v := rpmfile.Values{
		rpmfile.Name: r.Name, rpmfile.Version: cmp.Or(r.Version, "1"), rpmfile.Release: cmp.Or(r.Release, "1"),
		rpmfile.Summary: rpmfile.I18N("test"), rpmfile.Description: rpmfile.I18N("test"), rpmfile.License: "MIT",
		rpmfile.Group: rpmfile.I18N("Unspecified"), rpmfile.OS: "linux", rpmfile.Arch: r.arch(),
		rpmfile.BuildTime: uint32(Made.Unix()), rpmfile.BuildHost: "localhost", rpmfile.SourceRPM: r.Name + "-" + r.vr() + ".src.rpm",
		rpmfile.RPMVersion: "4.18.0", rpmfile.PayloadFormat: "cpio", rpmfile.PayloadCompressor: compressor, rpmfile.PayloadFlags: "3",
		rpmfile.PayloadDigest: []string{fmt.Sprintf("%x", sha256.Sum256(packed))}, rpmfile.PayloadDigestAlgo: uint32(8),
		rpmfile.Size: uint32(0),
	}
	if r.Epoch != 0 {
		v[rpmfile.Epoch] = r.Epoch
	}
	r.relations(v)
	for _, s := range []struct {
		body      string
		tag, prog int
	}{{r.Pre, rpmfile.PreIn, rpmfile.PreInProg}, {r.Post, rpmfile.PostIn, rpmfile.PostInProg}, {r.PostTrans, rpmfile.PostTrans, rpmfile.PostTransProg}} {
		if s.body == "" {
			continue
		}
		v[s.tag], v[s.prog] = s.body, "/bin/sh"
		if body, lua := strings.CutPrefix(s.body, "<lua>\n"); lua {
			v[s.tag], v[s.prog] = body, "<lua>"
		}
	}
	fileTags(v, files)
	for tag, x := range r.Tags {
		if v[tag] = x; x == nil {
			delete(v, tag)
		}
	}
	var sign func([]byte) []byte
	if r.Key != nil {
		sign = func(b []byte) []byte { return r.Key.Sign(t, b) }
	}
	return rpmfile.Assemble(r.Name, v.Build(), packed, sign, r.V3)
}

func (f File) file() rpmfile.File {
	out := f.File
	out.User, out.Group = cmp.Or(f.User, "root"), cmp.Or(f.Group, "root")
	if out.MTime == 0 {
		out.MTime = Made.Unix()
	}
	return out
}

func fileTags(v rpmfile.Values, files []File) {
	if len(files) == 0 {
		return
	}
	var bases, dirs, users, groups, digests, links, caps, langs []string
	var idx, sizes, mtimes, flags, devices, inodes, verify []uint32
	var modes, rdevs []uint16
	withCaps, total := false, uint32(0)
	for i, f := range files {
		g := f.file()
		dir := path.Dir(g.Path)
		if dir != "/" {
			dir += "/"
		}
		j := slices.Index(dirs, dir)
		if j < 0 {
			j = len(dirs)
			dirs = append(dirs, dir)
		}
		digest := ""
		size := uint32(len(f.Data))
		switch {
		case g.Mode&rpmfile.ModeType == rpmfile.ModeLink:
			size = uint32(len(g.Link))
		case g.Mode&rpmfile.ModeType == rpmfile.ModeRegular && g.Flags&rpmfile.FlagGhost == 0:
			digest = fmt.Sprintf("%x", sha256.Sum256(f.Data))
			total += size
		}
		inode := uint32(i + 1)
		if g.Inode != 0 {
			inode = uint32(g.Inode) + 1<<20
		}
		bases, idx = append(bases, path.Base(g.Path)), append(idx, uint32(j))
		users, groups = append(users, g.User), append(groups, g.Group)
		digests, links, caps, langs = append(digests, digest), append(links, g.Link), append(caps, g.Caps), append(langs, "")
		sizes, mtimes, flags = append(sizes, size), append(mtimes, uint32(g.MTime)), append(flags, g.Flags)
		devices, inodes, verify = append(devices, 1), append(inodes, inode), append(verify, 0xffffffff)
		modes, rdevs = append(modes, uint16(g.Mode)), append(rdevs, uint16(g.Rdev))
		withCaps = withCaps || g.Caps != ""
	}
	v[rpmfile.BaseNames], v[rpmfile.DirNames], v[rpmfile.DirIndexes] = bases, dirs, idx
	v[rpmfile.FileUserName], v[rpmfile.FileGroupName], v[rpmfile.FileDigests] = users, groups, digests
	v[rpmfile.FileLinkTos], v[rpmfile.FileLangs], v[rpmfile.FileSizes] = links, langs, sizes
	v[rpmfile.FileMTimes], v[rpmfile.FileFlags], v[rpmfile.FileDevices] = mtimes, flags, devices
	v[rpmfile.FileInodes], v[rpmfile.FileVerifyFlags], v[rpmfile.FileModes] = inodes, verify, modes
	v[rpmfile.FileRdevs], v[rpmfile.FileDigestAlgo], v[rpmfile.Size] = rdevs, uint32(8), total
	if withCaps {
		v[rpmfile.FileCaps] = caps
	}
}

// relations adds the dependencies.
func (r RPM) relations(v rpmfile.Values) {
	add := func(list []string, name, flags, version int) {
		var names, versions []string
		var senses []uint32
		for _, d := range list {
			n, s, ver := sense(d)
			names, senses, versions = append(names, n), append(senses, s), append(versions, ver)
		}
		if len(names) > 0 {
			v[name], v[flags], v[version] = names, senses, versions
		}
	}
	requires := append([]string{"rpmlib(CompressedFileNames) <= 3.0.4-1", "rpmlib(PayloadFilesHavePrefix) <= 4.0-1"}, r.Requires...)
	if r.Compression == "" {
		requires = append(requires, "rpmlib(PayloadIsZstd) <= 5.4.18-1")
	}
	for _, d := range append(slices.Clone(r.Requires), r.Supplements...) {
		if strings.HasPrefix(d, "(") {
			requires = append(requires, "rpmlib(RichDependencies) <= 4.12.0-1")
			break
		}
	}
	add(append(slices.Clone(r.Provides), r.Name+" = "+r.evr()), rpmfile.ProvideName, rpmfile.ProvideFlags, rpmfile.ProvideVersion)
	add(requires, rpmfile.RequireName, rpmfile.RequireFlags, rpmfile.RequireVersion)
	add(r.Conflicts, rpmfile.ConflictName, rpmfile.ConflictFlags, rpmfile.ConflictVersion)
	add(r.Obsoletes, rpmfile.ObsoleteName, rpmfile.ObsoleteFlags, rpmfile.ObsoleteVersion)
	add(r.Recommends, 5046, 5048, 5047)
	add(r.Supplements, 5052, 5054, 5053)
}

// sense takes "name [(pre)] op version" apart; "(post)" before the name makes it a
// dependency of a script.
func sense(d string) (name string, flags uint32, version string) {
	if strings.HasPrefix(d, "(") {
		return d, 0, ""
	}
	w := strings.Fields(d)
	if len(w) > 0 && w[0] == "post:" {
		flags |= rpmfile.SensePost
		w = w[1:]
	}
	if strings.HasPrefix(w[0], "rpmlib(") {
		flags |= rpmfile.SenseRPMLib
	}
	if len(w) != 3 {
		return w[0], flags, ""
	}
	for _, c := range w[1] {
		flags |= map[rune]uint32{'<': rpmfile.SenseLess, '>': rpmfile.SenseGreater, '=': rpmfile.SenseEqual}[c]
	}
	return w[0], flags, w[2]
}

func pack(t testing.TB, compression string, data []byte) (name string, out []byte) {
	t.Helper()
	var b bytes.Buffer
	switch compression {
	case "", "zstd":
		w, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(data)
		w.Close()
		return "zstd", b.Bytes()
	case "gzip":
		w := gzip.NewWriter(&b)
		w.Write(data)
		w.Close()
		return "gzip", b.Bytes()
	case "xz":
		cmd := exec.Command(testneed.Program(t, "xz"), "-c")
		cmd.Stdin, cmd.Stdout = bytes.NewReader(data), &b
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return "xz", b.Bytes()
	}
	return compression, data
}
