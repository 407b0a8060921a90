package lint

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/internal/rootfs"
)

// owners are paths of one owner.
type owners struct {
	first *rootfs.Entry
	n     int
}

// files are the rules on each path of the finished image.
func (i *image) files() {
	users, names := i.ids("/etc/passwd")
	groups, _ := i.ids("/etc/group")
	user, _, _ := strings.Cut(i.fs.Config.Config.User, ":")
	if _, err := strconv.Atoi(user); user != "" && err != nil && names != nil && !names[user] {
		i.add(UnknownUser, Finding{Subject: "user", Message: fmt.Sprintf("the configured user %q is not in /etc/passwd", user)})
	}
	unknown, foreign, bound := map[string]*owners{}, map[string]*owners{}, map[string]*owners{}
	note := func(m map[string]*owners, key string, e *rootfs.Entry) {
		if m[key] == nil {
			m[key] = &owners{first: e}
		}
		m[key].n++
	}
	var open *rootfs.Entry // the world-writable directory that the walk is in
	tools := map[string]bool{}
	i.fs.Walk("/", func(e *rootfs.Entry) error {
		if e.Implied || e.Path == "/" {
			return nil
		}
		if open == nil || !below(e.Path, open.Path) {
			open = nil
			if openToAll(e) {
				i.path(WorldWritable, e, "%s has mode %04o: everyone may write to it", e.Path, e.Mode)
				if e.Type == rootfs.Dir {
					open = e
				}
			}
		}
		switch e.Type {
		case rootfs.File:
			i.privileges(e)
		case rootfs.Char, rootfs.Block:
			i.path(DeviceNode, e, "%s is a device (%s)", e.Path, e.Dev)
		}
		i.program(e, tools)
		if what := leftover(e); what != "" {
			i.path(Leftovers, e, "%s is left: %s", e.Path, what)
		}
		if boundDir(e.Path) != "" {
			note(bound, boundTop(e.Path), e)
		}
		switch {
		case users != nil && !users[e.UID] && !(e.UID >= 1000 && systemPath(e.Path)):
			note(unknown, fmt.Sprintf("uid %d", e.UID), e)
		case groups != nil && !groups[e.GID]:
			note(unknown, fmt.Sprintf("gid %d", e.GID), e)
		}
		if e.UID >= 1000 && systemPath(e.Path) {
			note(foreign, fmt.Sprintf("uid %d", e.UID), e)
		}
		return nil
	})
	i.owned(UnknownOwner, unknown, "%s belongs to %s, which no account of the image has")
	i.owned(UserOwned, foreign, "%s belongs to %s: a user's account")
	for _, top := range sortedOwners(bound) {
		o := bound[top]
		message := fmt.Sprintf("%s is hidden wherever %s is bound over", top, boundDir(top))
		if o.n > 1 {
			message += fmt.Sprintf(" (%d files and directories)", o.n)
		}
		i.at(BoundDirectory, i.origin(o.first), Finding{Path: top, Message: message})
	}
	i.licenses()
	if b, err := i.fs.ReadFile("/etc/machine-id", 4096); err == nil && len(strings.TrimSpace(string(b))) > 0 && strings.TrimSpace(string(b)) != "uninitialized" {
		if e, err := i.fs.Resolve("/etc/machine-id"); err == nil {
			i.path(MachineID, e, "/etc/machine-id is set")
		}
	}
}

func sortedOwners(m map[string]*owners) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// owned adds one finding for each owner.
func (i *image) owned(rule string, m map[string]*owners, format string) {
	for _, id := range sortedOwners(m) {
		o := m[id]
		message := fmt.Sprintf(format, o.first.Path, id)
		if o.n > 1 {
			message += fmt.Sprintf("; so do %d more paths", o.n-1)
		}
		i.at(rule, i.origin(o.first), Finding{Subject: id, Path: o.first.Path, Message: message})
	}
}

// ids reads the numbers and names of a passwd or group file; nil where there is
// none.
func (i *image) ids(file string) (map[int]bool, map[string]bool) {
	b, err := i.fs.ReadFile(file, 8<<20)
	if err != nil {
		return nil, nil
	}
	ids, names := map[int]bool{0: true}, map[string]bool{}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 3 {
			continue
		}
		if n, err := strconv.Atoi(f[2]); err == nil {
			ids[n], names[f[0]] = true, true
		}
	}
	return ids, names
}

// openToAll: everyone may write, and no sticky bit keeps them from others' files.
func openToAll(e *rootfs.Entry) bool {
	if e.Mode&0o002 == 0 {
		return false
	}
	return e.Type == rootfs.File || e.Type == rootfs.Fifo || e.Type == rootfs.Dir && e.Mode&0o1000 == 0
}

// privileges are setuid, setgid and capabilities.
func (i *image) privileges(e *rootfs.Entry) {
	if e.Mode&0o6000 != 0 && !shipped(e.Path, setuids) {
		what := "setuid"
		owner := fmt.Sprintf("uid %d", e.UID)
		if e.Mode&0o4000 == 0 {
			what, owner = "setgid", fmt.Sprintf("gid %d", e.GID)
		}
		i.path(SetuidUnexpected, e, "%s is %s (%s, mode %04o), and no distribution ships it so", e.Path, what, owner, e.Mode)
	}
	if _, ok := e.Xattrs["security.capability"]; ok && !shipped(e.Path, capables) {
		i.path(CapabilityFile, e, "%s has file capabilities, and no distribution ships it so", e.Path)
	}
}

// program are the rules on what PATH finds. The same tool under several names
// counts once; applets of BusyBox and Toybox are the shell's, not tools that were
// installed.
func (i *image) program(e *rootfs.Entry, tools map[string]bool) {
	if !slices.Contains(programDirs, path.Dir(e.Path)) || e.Type == rootfs.Dir {
		return
	}
	target := e
	if e.Type == rootfs.Symlink {
		var err error
		if target, err = i.fs.Resolve(e.Path); err != nil {
			if errors.Is(err, fs.ErrNotExist) && !below(e.Link, "/proc") && !below(e.Link, "/dev") && !below(e.Link, "/run") {
				i.path(BrokenLink, e, "%s leads to %s, which is not there", e.Path, e.Link)
			}
			return
		}
	}
	tool := toolOf(e.Path)
	if tool == "" || tools[tool] || strings.HasPrefix(path.Base(target.Path), "busybox") || strings.HasPrefix(path.Base(target.Path), "toybox") || e.Hard != "" && strings.Contains(e.Hard, "busybox") {
		return
	}
	tools[tool] = true
	i.at(NeedlessTool, e.Layer, Finding{Subject: tool, Path: e.Path, Message: fmt.Sprintf("%s is there: %s", e.Path, whyNeedless(tool))})
}

// licenses looks whether packages kept their licences.
func (i *image) licenses() {
	b, err := i.fs.ReadFile("/var/lib/dpkg/status", largestDatabase)
	if err != nil {
		if _, rpm := i.fs.Lookup("/usr/lib/sysimage/rpm"); !rpm {
			if _, rpm = i.fs.Lookup("/var/lib/rpm"); !rpm {
				return
			}
		}
		if _, ok := i.fs.Lookup("/usr/share/licenses"); !ok {
			i.add(CopyrightMissing, Finding{Subject: "/usr/share/licenses", Message: "/usr/share/licenses is not there: packages came without their licences"})
		}
		return
	}
	var missing []string
	names, _, _ := packageNames("/var/lib/dpkg/status", bytes.NewReader(b))
	for name := range names {
		if _, err := i.fs.Resolve("/usr/share/doc/" + name + "/copyright"); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return
	}
	slices.Sort(missing)
	i.add(CopyrightMissing, Finding{Subject: "/usr/share/doc", Message: fmt.Sprintf("%d of %d packages have no /usr/share/doc/PACKAGE/copyright: %s", len(missing), len(names),
		oneLine(strings.Join(missing, ", ")))})
}
