package imagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/internal/pkgdb"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/pipelines"
)

// maxContent bounds a file whose content is looked at, in bytes.
const maxContent = 256 << 20

// check says what is wrong, nothing when the test passes. The error says that the
// image cannot be read.
func (i *image) check(t pipelines.Test) ([]string, error) {
	switch t := t.(type) {
	case pipelines.TestFile:
		return i.file(t)
	case pipelines.TestPackage:
		return i.pkg(t)
	case pipelines.TestUser:
		return i.user(t)
	case pipelines.TestEnv:
		return i.env(t), nil
	case pipelines.TestLabel:
		return i.label(t), nil
	case pipelines.TestPlatform:
		return i.programs(t), nil
	}
	return nil, fmt.Errorf("a test of a kind that is not known: %T", t)
}

func (i *image) file(t pipelines.TestFile) ([]string, error) {
	find := i.fs.Resolve
	if t.Absent || t.Link != "" {
		find = i.fs.ResolveLink
	}
	e, err := find(t.Path)
	switch {
	case t.Absent && err == nil:
		return []string{fmt.Sprintf("want nothing at %s, got a %s", t.Path, kind(e))}, nil
	case t.Absent:
		return nil, nil // whatever keeps from getting there: there is nothing
	case err != nil:
		return []string{missing(t.Path, err)}, nil
	}
	var bad []string
	want := rootfs.File
	switch {
	case t.Dir:
		want = rootfs.Dir
	case t.Link != "":
		want = rootfs.Symlink
	}
	if e.Type != want {
		return []string{fmt.Sprintf("want a %s, got a %s", word(want), kind(e))}, nil
	}
	if t.Link != "" && e.Link != t.Link {
		bad = append(bad, fmt.Sprintf("want a link to %s, got one to %s", t.Link, e.Link))
	}
	if t.Mode != 0 && e.Mode != t.Mode {
		bad = append(bad, fmt.Sprintf("want mode %04o, got %04o", t.Mode, e.Mode))
	}
	if owner := fmt.Sprintf("%d:%d", e.UID, e.GID); t.Owner != "" && owner != t.Owner {
		bad = append(bad, fmt.Sprintf("want owner %s, got %s", t.Owner, owner))
	}
	if len(t.Contains)+len(t.Lacks) == 0 {
		return bad, nil
	}
	b, err := i.fs.Read(e, maxContent)
	if err != nil {
		return nil, err
	}
	for _, s := range t.Contains {
		if !bytes.Contains(b, []byte(s)) {
			bad = append(bad, fmt.Sprintf("want %q in its content, got %s", s, excerpt(b)))
		}
	}
	for _, s := range t.Lacks {
		if at := bytes.Index(b, []byte(s)); at >= 0 {
			bad = append(bad, fmt.Sprintf("want no %q in its content, it is in line %d", s, 1+bytes.Count(b[:at], []byte("\n"))))
		}
	}
	return bad, nil
}

// excerpt is a short content quoted whole, of a long one its size.
func excerpt(b []byte) string {
	if len(b) > 120 {
		return fmt.Sprintf("%d bytes without it", len(b))
	}
	return strconv.Quote(string(b))
}

func word(t rootfs.Type) string {
	switch t {
	case rootfs.File:
		return "regular file"
	case rootfs.Dir:
		return "directory"
	case rootfs.Symlink:
		return "symbolic link"
	case rootfs.Char:
		return "character device"
	case rootfs.Block:
		return "block device"
	}
	return string(t)
}

func kind(e *rootfs.Entry) string {
	if e.Type == rootfs.Symlink {
		return "symbolic link to " + e.Link
	}
	return word(e.Type)
}

func missing(p string, err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("want %s, it is not there", p)
	}
	return fmt.Sprintf("want %s, it cannot be reached: %v", p, err)
}

func (i *image) pkg(t pipelines.TestPackage) ([]string, error) {
	if !i.read {
		i.packages, i.noDB = pkgdb.Read(i.fs)
		i.read = true
	}
	if i.noDB != nil {
		return nil, i.noDB
	}
	if len(i.packages) == 0 {
		if t.Absent {
			return nil, nil
		}
		return []string{fmt.Sprintf("want package %s, the image has no package database (dpkg, rpm, apk)", t.Name)}, nil
	}
	var versions, names []string
	for _, db := range i.packages {
		for _, p := range db.Packages {
			names = append(names, p.Name)
			if p.Name == t.Name || (p.Arch != "" && p.Name+":"+p.Arch == t.Name) {
				versions = append(versions, p.Version)
			}
		}
	}
	switch {
	case t.Absent && len(versions) > 0:
		return []string{fmt.Sprintf("want no package %s, got %s", t.Name, strings.Join(versions, ", "))}, nil
	case t.Absent:
		return nil, nil
	case len(versions) == 0:
		why := fmt.Sprintf("want package %s, it is not among the %d that are installed", t.Name, len(names))
		slices.Sort(names)
		if near := pipelines.Nearest(t.Name, slices.Compact(names), 3); len(near) > 0 {
			why += "; near it: " + strings.Join(near, ", ")
		}
		return []string{why}, nil
	}
	if t.Version != "" && !slices.ContainsFunc(versions, func(v string) bool { ok, _ := path.Match(t.Version, v); return ok }) {
		return []string{fmt.Sprintf("want version %s, got %s", t.Version, strings.Join(versions, ", "))}, nil
	}
	return nil, nil
}

func (i *image) user(t pipelines.TestUser) ([]string, error) {
	b, err := i.fs.ReadFile("/etc/passwd", maxContent)
	if err != nil {
		if t.Absent && errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return []string{missing("/etc/passwd", err)}, nil
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), ":") // passwd(5)
		if f[0] != t.Name {
			continue
		}
		if t.Absent {
			return []string{fmt.Sprintf("want no user %s, got %q", t.Name, strings.TrimSpace(line))}, nil
		}
		if len(f) != 7 {
			return []string{fmt.Sprintf("want seven fields in /etc/passwd, got %q", strings.TrimSpace(line))}, nil
		}
		var bad []string
		for _, c := range []struct{ what, want, got string }{{"uid", t.UID, f[2]}, {"home", t.Home, f[5]}, {"shell", t.Shell, f[6]}} {
			if c.want != "" && c.want != c.got {
				bad = append(bad, fmt.Sprintf("want %s %s, got %s", c.what, c.want, c.got))
			}
		}
		return bad, nil
	}
	if t.Absent {
		return nil, nil
	}
	return []string{fmt.Sprintf("want user %s, it is not in /etc/passwd", t.Name)}, nil
}

func (i *image) env(t pipelines.TestEnv) []string {
	got, ok := "", false
	for _, kv := range i.config.Config.Env {
		if k, v, _ := strings.Cut(kv, "="); k == t.Name {
			got, ok = v, true
		}
	}
	switch {
	case t.Absent && ok:
		return []string{fmt.Sprintf("want %s not set, got %q", t.Name, got)}
	case t.Absent:
	case !ok:
		return []string{fmt.Sprintf("want %s=%q, it is not set", t.Name, t.Value)}
	case got != t.Value:
		return []string{fmt.Sprintf("want %s=%q, got %q", t.Name, t.Value, got)}
	}
	return nil
}

func (i *image) label(t pipelines.TestLabel) []string {
	got, ok := i.config.Config.Labels[t.Name]
	switch {
	case !ok:
		return []string{fmt.Sprintf("want label %s, it is not there", t.Name)}
	case t.Value != "" && got != t.Value:
		return []string{fmt.Sprintf("want label %s=%q, got %q", t.Name, t.Value, got)}
	}
	return nil
}
