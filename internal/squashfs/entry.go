package squashfs

import (
	"io/fs"
	"math"
	"strings"
	"time"
)

// Entry is one path of an image.
type Entry struct {
	// Path is relative to the root of the image and separated by slashes; "./a/b/" and
	// "/a/b" are a/b, and "." is the root itself. Parents that have no entry of
	// their own are made as root's, with mode 0755.
	Path string
	// Mode has the type and permissions, also fs.ModeSetuid, Setgid and Sticky.
	// fs.ModeDevice alone is a block device, with fs.ModeCharDevice a character one.
	Mode     fs.FileMode
	UID, GID uint32
	// ModTime is kept in whole seconds, from 1970 to 2106.
	ModTime time.Time
	// Size of a regular file's content, in bytes.
	Size int64
	// Content of a regular file that [Writer.Content] took in before; Size and the
	// reader given to Add are then of no concern.
	Content *Content
	// Target of a symbolic link.
	Target string
	// HardLink is the path of another entry, which may come later; all but Path is
	// then taken from there. Directories have no hard links.
	HardLink string
	// Major and Minor number of a device.
	Major, Minor uint32
	// Xattrs by full name: user.*, trusted.* and security.*, where file
	// capabilities are security.capability.
	Xattrs map[string][]byte
}

// Kept says whether squashfs has a place for an extended attribute of that name.
func Kept(xattr string) bool { _, _, ok := xattrPrefix(xattr); return ok }

// xattrPrefix splits off the namespace and gives its number.
func xattrPrefix(name string) (kind uint16, rest string, ok bool) {
	for i, p := range xattrPrefixes {
		if rest, ok := strings.CutPrefix(name, p); ok && rest != "" {
			return uint16(i), rest, true
		}
	}
	return 0, "", false
}

var xattrPrefixes = [...]string{"user.", "trusted.", "security."}

// cleanPath checks a path and cuts it in names; none for the root.
func cleanPath(path string) ([]string, error) {
	bad := func(reason string) ([]string, error) { return nil, &EntryError{Path: path, Reason: reason} }
	if path == "" {
		return bad("path is empty")
	}
	if len(path) > maxPath {
		return bad("path is longer than 64 KiB")
	}
	if strings.IndexByte(path, 0) >= 0 {
		return bad("path has a NUL byte")
	}
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		switch {
		case name == "" || name == ".":
		case name == "..":
			return bad(`path has ".."`)
		case len(name) > maxName:
			return bad("a name is longer than 255 bytes")
		default:
			names = append(names, name)
		}
	}
	return names, nil
}

// kind gives the number of an entry's type.
func (e *Entry) kind() (uint16, error) {
	switch e.Mode & (fs.ModeType) {
	case 0:
		return kindFile, nil
	case fs.ModeDir:
		return kindDir, nil
	case fs.ModeSymlink:
		return kindSymlink, nil
	case fs.ModeDevice:
		return kindBlock, nil
	case fs.ModeDevice | fs.ModeCharDevice:
		return kindChar, nil
	case fs.ModeNamedPipe:
		return kindFIFO, nil
	case fs.ModeSocket:
		return kindSocket, nil
	}
	return 0, &EntryError{Path: e.Path, Reason: "mode " + e.Mode.String() + " is no type squashfs has"}
}

// check finds what an entry of that kind cannot have.
func (e *Entry) check(kind uint16) error {
	bad := func(reason string) error { return &EntryError{Path: e.Path, Reason: reason} }
	switch {
	case e.Size < 0:
		return bad("size is negative")
	case (e.Size != 0 || e.Content != nil) && kind != kindFile:
		return bad("only regular files have content")
	case kind == kindSymlink && e.Target == "":
		return bad("symbolic link without a target")
	case kind == kindSymlink && len(e.Target) > maxLink:
		return bad("target of the symbolic link is longer than 4095 bytes")
	case kind == kindSymlink && strings.IndexByte(e.Target, 0) >= 0:
		return bad("target of the symbolic link has a NUL byte")
	case (kind == kindBlock || kind == kindChar) && (e.Major > 0xfff || e.Minor > 0xfffff):
		return bad("device number is too large: at most 4095 and 1048575")
	}
	return nil
}

// unixMode turns permissions into the 12 bits an inode keeps.
func unixMode(m fs.FileMode) uint16 {
	bits := uint16(m.Perm())
	for i, f := range modeBits {
		if m&f != 0 {
			bits |= 0o4000 >> i
		}
	}
	return bits
}

var modeBits = [...]fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}

var typeBits = [...]fs.FileMode{kindDir: fs.ModeDir, kindFile: 0, kindSymlink: fs.ModeSymlink, kindBlock: fs.ModeDevice,
	kindChar: fs.ModeDevice | fs.ModeCharDevice, kindFIFO: fs.ModeNamedPipe, kindSocket: fs.ModeSocket}

// fileMode undoes unixMode.
func fileMode(kind, bits uint16) fs.FileMode {
	m := typeBits[kind] | fs.FileMode(bits&0o777)
	for i, f := range modeBits {
		if bits&(0o4000>>i) != 0 {
			m |= f
		}
	}
	return m
}

// seconds clamps a time to what an inode keeps.
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}
