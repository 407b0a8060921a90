package unpack

import (
	"archive/tar"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"path"
	"strings"
)

// maxEntries bounds the entries of one package.
const maxEntries = 1 << 20

// maxPath is Linux's PATH_MAX, in bytes.
const maxPath = 4096

// entry is one member of a data.tar.
type entry struct {
	// path is clean, without a leading slash; "." is the root.
	path     string
	kind     byte // tar.Type…
	mode     int64
	uid, gid int
	mtime    int64
	link     string // of symbolic links as it is, of hard links like path
	major    int64
	minor    int64
	size     int64
	spool    *spool
	offset   int64
	xattrs   map[string]string
	md5      string // of regular files, where dpkg would write md5sums
}

// readData reads a data.tar; contents go to the spool.
func readData(r io.Reader, name string, max int64, s *spool, sums, devices bool) ([]entry, error) {
	lim := limit(r, max, name)
	tr := tar.NewReader(lim)
	var out []entry
	var total int64
	seen := map[string]byte{}
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, damaged(name, err)
		}
		if len(out) == maxEntries {
			return nil, refuse(name, "has more than %d entries", maxEntries)
		}
		e, err := newEntry(h, devices)
		if err != nil {
			return nil, err
		}
		// A directory may be listed again; dpkg keeps the first.
		if k, twice := seen[e.path]; twice {
			if k == tar.TypeDir && e.kind == tar.TypeDir {
				continue
			}
			return nil, refuse(h.Name, "is twice in %s", name)
		}
		if e.kind == tar.TypeLink && seen[e.link] != tar.TypeReg {
			return nil, refuse(h.Name, "is a hard link to %q, which is no file before it in %s", h.Linkname, name)
		}
		seen[e.path] = e.kind
		if e.kind == tar.TypeLink {
			seen[e.path] = tar.TypeReg
		}
		// A sparse file is larger than what is read for it.
		if total += e.size; total > max {
			return nil, refuse(name, "unpacks to more than %d MiB, far more than it declares", max>>20)
		}
		if e.kind == tar.TypeReg && e.size > 0 {
			e.spool = s
			var sum hash.Hash
			if sums {
				sum = md5.New()
			}
			if e.offset, err = s.add(tr, e.size, sum); err != nil {
				return nil, damaged(name, err)
			}
			if sums {
				e.md5 = hex.EncodeToString(sum.Sum(nil))
			}
		} else if e.kind == tar.TypeReg && sums {
			e.md5 = "d41d8cd98f00b204e9800998ecf8427e" // of nothing
		}
		out = append(out, e)
	}
	// The decoder sees its integrity check only at the end of its input.
	if _, err := io.Copy(io.Discard, lim); err != nil {
		return nil, damaged(name, err)
	}
	return out, nil
}

// newEntry checks one header.
func newEntry(h *tar.Header, devices bool) (entry, error) {
	e := entry{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid,
		mtime: h.ModTime.Unix(), size: h.Size, major: h.Devmajor, minor: h.Devminor}
	var err error
	if e.path, err = cleanPath(h.Name, h.Name); err != nil {
		return e, err
	}
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > 1<<32-2 || int64(h.Gid) > 1<<32-2 {
		return e, refuse(h.Name, "has the owner %d:%d", h.Uid, h.Gid)
	}
	switch {
	case isRegular(h):
		e.kind = tar.TypeReg
	case h.Typeflag == tar.TypeDir, h.Typeflag == tar.TypeFifo:
	case h.Typeflag == tar.TypeSymlink:
		e.link = h.Linkname
		if e.link == "" || len(e.link) >= maxPath || strings.ContainsRune(e.link, 0) {
			return e, refuse(h.Name, "is a symbolic link to an impossible path")
		}
	case h.Typeflag == tar.TypeLink:
		if e.link, err = cleanPath(h.Linkname, h.Name); err != nil {
			return e, err
		}
	case h.Typeflag == tar.TypeChar, h.Typeflag == tar.TypeBlock:
		if !devices {
			return e, refuse(h.Name, "is a device node, which packages must not hold (Debian policy 10.6)")
		}
	default:
		return e, refuse(h.Name, "has the unknown type %q", h.Typeflag)
	}
	if e.path == "." && e.kind != tar.TypeDir {
		return e, refuse(h.Name, "is the root directory, but no directory")
	}
	if e.kind != tar.TypeReg {
		e.size = 0
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxXattr); ok {
			if e.xattrs == nil {
				e.xattrs = map[string]string{}
			}
			e.xattrs[name] = v
		}
	}
	return e, nil
}

// paxXattr is how extended attributes are named in PAX headers.
const paxXattr = "SCHILY.xattr."

// cleanPath checks a path of a data.tar and takes "./" off.
func cleanPath(p, name string) (string, error) {
	switch {
	case p == "" || len(p) >= maxPath || strings.ContainsRune(p, 0):
		return "", refuse(name, "is an impossible path")
	case p[0] == '/':
		return "", refuse(name, "is an absolute path")
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return "", refuse(name, "is a path outside of the root")
		}
		if len(part) > 255 {
			return "", refuse(name, "has a name longer than 255 bytes")
		}
	}
	return path.Clean(p), nil
}
