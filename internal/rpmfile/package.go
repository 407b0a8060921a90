package rpmfile

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strings"
)

const (
	leadSize  = 96
	leadMagic = 0xedabeedb
)

// Package is a package whose headers were read.
type Package struct {
	// Signatures is the signature header, Header the package's own.
	Signatures, Header *Header
	// Source: it is a source package.
	Source bool
}

// Read reads lead and headers; r is left at the payload.
func Read(r io.Reader) (*Package, error) {
	lead := make([]byte, leadSize)
	if _, err := io.ReadFull(r, lead); err != nil {
		return nil, short("lead", err)
	}
	if binary.BigEndian.Uint32(lead) != leadMagic {
		return nil, malformed("it does not begin as an RPM package does")
	}
	if lead[4] < 3 || lead[4] > 4 {
		return nil, malformed("it is of format %d", lead[4])
	}
	p := &Package{Source: binary.BigEndian.Uint16(lead[6:]) == 1}
	var err error
	if p.Signatures, err = readHeader(r); err != nil {
		return nil, fmt.Errorf("signature header: %w", err)
	}
	pad := make([]byte, -len(p.Signatures.Raw)&7)
	if _, err := io.ReadFull(r, pad); err != nil {
		return nil, short("signature header", err)
	}
	p.Header, err = readHeader(r)
	return p, err
}

// CheckHeader compares the header with its digests in the signature header. They
// prove nothing about who made it.
func (p *Package) CheckHeader() error {
	for _, d := range []struct {
		tag  int
		name string
		got  []byte
	}{
		{SigSHA256, "SHA-256", sum256(p.Header.Raw)},
		{SigSHA1, "SHA-1", sum1(p.Header.Raw)},
	} {
		if want := p.Signatures.String(d.tag); want != "" && want != hex.EncodeToString(d.got) {
			return malformed("its header does not have the %s that it says", d.name)
		}
	}
	return nil
}

func sum256(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
func sum1(b []byte) []byte   { s := sha1.Sum(b); return s[:] }
func sumMD5(b []byte) []byte { s := md5.Sum(b); return s[:] }

// EVR is [epoch:]version-release.
func (p *Package) EVR() string {
	s := p.Header.String(Version) + "-" + p.Header.String(Release)
	if p.Header.Has(Epoch) {
		s = fmt.Sprint(p.Header.Int(Epoch)) + ":" + s
	}
	return s
}

// File is one file of a package.
type File struct {
	// Path is clean and absolute.
	Path        string
	Mode        uint32 // Unix: type and permissions
	User, Group string
	MTime       int64
	Size        int64
	Link        string // of symbolic links
	Flags       uint32
	Caps        string // in text form, "" for none
	Rdev        uint32 // of devices: major<<8 | minor
	Inode       uint64 // files of one package with the same are hard links, 0: none
	Digest      string // of regular files, hex
}

// Types of files in Mode.
const (
	ModeType    = 0o170000
	ModeDir     = 0o040000
	ModeRegular = 0o100000
	ModeLink    = 0o120000
	ModeChar    = 0o020000
	ModeBlock   = 0o060000
	ModeFIFO    = 0o010000
	ModeSocket  = 0o140000
)

// Files lists the files, in the order of the header.
func (p *Package) Files() ([]File, error) {
	h := p.Header
	bases, dirs, idx := h.Strings(BaseNames), h.Strings(DirNames), h.Ints(DirIndexes)
	n := len(bases)
	if n == 0 {
		return nil, nil
	}
	if len(idx) != n {
		return nil, malformed("it has %d file names in %d directories", n, len(idx))
	}
	sizes := h.Ints(FileSizes)
	if h.Has(LongFileSizes) {
		sizes = h.Ints(LongFileSizes)
	}
	modes, rdevs, mtimes := h.Ints(FileModes), h.Ints(FileRdevs), h.Ints(FileMTimes)
	links, flags := h.Strings(FileLinkTos), h.Ints(FileFlags)
	users, groups := h.Strings(FileUserName), h.Strings(FileGroupName)
	digests, caps := h.Strings(FileDigests), h.Strings(FileCaps)
	inodes, devices := h.Ints(FileInodes), h.Ints(FileDevices)
	if len(sizes) != n || len(modes) != n || len(mtimes) != n || len(users) != n || len(groups) != n {
		return nil, malformed("it lacks sizes, modes, times or owners of its %d files", n)
	}
	for _, m := range []int{len(rdevs), len(links), len(flags), len(digests), len(caps), len(inodes), len(devices)} {
		if m != 0 && m != n {
			return nil, malformed("it has %d values for its %d files", m, n)
		}
	}
	out := make([]File, n)
	for i := range out {
		if idx[i] >= uint64(len(dirs)) {
			return nil, malformed("file %q is in no directory", bases[i])
		}
		name, err := cleanPath(dirs[idx[i]] + bases[i])
		if err != nil {
			return nil, err
		}
		f := File{Path: name, Mode: uint32(modes[i]), User: users[i], Group: groups[i], MTime: int64(mtimes[i]), Size: int64(sizes[i])}
		if f.Size < 0 {
			return nil, malformed("file %q has a negative size", name)
		}
		if len(links) > 0 {
			f.Link = links[i]
		}
		if len(flags) > 0 {
			f.Flags = uint32(flags[i])
		}
		if len(rdevs) > 0 {
			f.Rdev = uint32(rdevs[i])
		}
		if len(digests) > 0 {
			f.Digest = digests[i]
		}
		if len(caps) > 0 {
			f.Caps = caps[i]
		}
		if len(inodes) > 0 {
			f.Inode = inodes[i]
		}
		if len(devices) > 0 && f.Inode != 0 {
			f.Inode |= devices[i] << 32
		}
		out[i] = f
	}
	return out, nil
}

// cleanPath checks a path of a package: absolute and without a detour.
func cleanPath(p string) (string, error) {
	if !strings.HasPrefix(p, "/") || len(p) > 4095 {
		return "", malformed("%q is no absolute path", p)
	}
	for part := range strings.SplitSeq(p[1:], "/") {
		if part == ".." || part == "." {
			return "", malformed("%q is a path with a detour", p)
		}
		if len(part) > 255 {
			return "", malformed("%.40q… is longer than a file name can be", part)
		}
	}
	return path.Clean(p), nil
}

// Assemble puts a package file together from a header and a payload, with digests
// and what sign makes of header and of header and payload, either nil for none.
func Assemble(name string, header, payload []byte, sign func(b []byte) []byte, v3 bool) []byte {
	both := append(bytes.Clone(header), payload...)
	sig := Values{
		SigSHA1: hex.EncodeToString(sum1(header)), SigSHA256: hex.EncodeToString(sum256(header)),
		SigSize: uint32(len(both)), SigMD5: sumMD5(both),
	}
	if sign != nil {
		sig[SigRSA] = sign(header)
		if v3 {
			sig[SigPGP] = sign(both)
		}
	}
	lead := make([]byte, leadSize)
	binary.BigEndian.PutUint32(lead, leadMagic)
	lead[4] = 3
	copy(lead[10:75], name)
	lead[77], lead[79] = 1, 5
	return append(append(lead, sig.BuildSignatures()...), both...)
}
