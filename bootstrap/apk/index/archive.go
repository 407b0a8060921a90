package index

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // what indexes name packages by
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
)

// maxControl bounds a package's signature and control members, packed and unpacked,
// in bytes: scripts are a few KB.
const maxControl = 16 << 20

// Control is what a package says of itself besides what the index has.
type Control struct {
	// Replaces are packages whose files this one may overwrite, Priority decides
	// between two that replace each other.
	Replaces []Dep
	Priority int
	// Triggers are patterns of directories.
	Triggers []string
	// Scripts by name: "pre-install", "post-install", "trigger", …
	Scripts map[string][]byte
	// dataHash is the SHA-256 of the packed data member.
	dataHash []byte
}

var scriptNames = []string{"pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade", "trigger"}

// ScriptNames lists the scripts that a package can have, in apk's order.
func ScriptNames() []string { return append([]string(nil), scriptNames...) }

// tally reads byte by byte, so that gzip reads no further than its member, and keeps
// what was read.
type tally struct {
	r      *bufio.Reader
	n, max int64
	raw    *bytes.Buffer
}

var errHead = errors.New("its signature and control parts are larger than is sensible")

func (t *tally) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := t.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

func (t *tally) ReadByte() (byte, error) {
	if t.n >= t.max {
		return 0, errHead
	}
	b, err := t.r.ReadByte()
	if err == nil {
		t.n++
		t.raw.WriteByte(b)
	}
	return b, err
}

// member unpacks the next gzip member, and gives its packed bytes too.
func (t *tally) member() (plain, raw []byte, err error) {
	t.raw.Reset()
	z, err := gzip.NewReader(t)
	if err != nil {
		return nil, nil, fmt.Errorf("%w gzip: %w", fetch.ErrMalformed, noEOF(err))
	}
	z.Multistream(false)
	plain, err = io.ReadAll(io.LimitReader(z, maxControl+1))
	if err == nil && len(plain) > maxControl {
		err = errHead
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w gzip: %w", fetch.ErrMalformed, noEOF(err))
	}
	return plain, bytes.Clone(t.raw.Bytes()), nil
}

// Open checks that f, a package of size bytes, is the one that the index means: its
// control member has the hash of the index, and its data the hash that the control
// member says. It gives the control part and the tar of the data. Errors match
// [fetch.ErrMismatch] or [fetch.ErrMalformed].
func (p *Package) Open(f io.ReaderAt, size int64) (*Control, *tar.Reader, error) {
	if size != p.Size {
		return nil, nil, fetch.Mismatch("it has %d bytes, the index says %d", size, p.Size)
	}
	want, err := p.Sum()
	if err != nil {
		return nil, nil, err
	}
	t := &tally{r: bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 64<<10), max: maxControl, raw: new(bytes.Buffer)}
	if magic, _ := t.r.Peek(4); isVersion3(magic) {
		return nil, nil, ErrVersion3
	} else if len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b {
		return nil, nil, fetch.Mismatch("it is no apk package")
	}
	for {
		plain, raw, err := t.member()
		if err != nil {
			return nil, nil, err
		}
		list, err := files(plain)
		if err != nil {
			return nil, nil, err
		}
		if len(list) > 0 && strings.HasPrefix(list[0].head.Name, ".SIGN.") {
			continue // the index is what is trusted
		}
		if !bytes.Equal(digest(raw, len(want)), want) {
			return nil, nil, fetch.Mismatch("the hash of its control part is not the one of the index")
		}
		c, err := readControl(list, p)
		if err != nil {
			return nil, nil, err
		}
		data, err := openData(f, t.n, size, c.dataHash)
		return c, data, err
	}
}

func digest(b []byte, size int) []byte {
	if size == sha256.Size {
		d := sha256.Sum256(b)
		return d[:]
	}
	d := sha1.Sum(b) //nolint:gosec // see above
	return d[:]
}

// openData hashes the data member before anything of it is used.
func openData(f io.ReaderAt, from, size int64, want []byte) (*tar.Reader, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, from, size-from)); err != nil {
		return nil, err
	}
	if !bytes.Equal(h.Sum(nil), want) {
		return nil, fetch.Mismatch("the hash of its data is not the one of its control part")
	}
	if from == size {
		return tar.NewReader(bytes.NewReader(nil)), nil // a package of nothing but dependencies
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(io.NewSectionReader(f, from, size-from), 256<<10))
	if err != nil {
		return nil, fmt.Errorf("%w gzip: %w", fetch.ErrMalformed, noEOF(err))
	}
	return tar.NewReader(z), nil
}

// readControl reads .PKGINFO and the scripts.
func readControl(list []file, p *Package) (*Control, error) {
	c := &Control{Scripts: map[string][]byte{}}
	found := false
	for _, f := range list {
		if f.head.Name == ".PKGINFO" {
			found = true
			if err := c.info(string(f.data), p); err != nil {
				return nil, err
			}
		}
		for _, s := range scriptNames {
			if f.head.Name == "."+s {
				c.Scripts[s] = f.data
			}
		}
	}
	if !found || len(c.dataHash) != sha256.Size {
		return nil, fmt.Errorf("%w control part: it does not say the hash of the data", fetch.ErrMalformed)
	}
	return c, nil
}

// info reads .PKGINFO (apk-package(5)): "key = value", several of a key allowed.
func (c *Control) info(text string, p *Package) error {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		switch key {
		case "pkgname":
			if value != p.Name {
				return fetch.Mismatch("it is package %.60q", value)
			}
		case "pkgver":
			if value != p.Version {
				return fetch.Mismatch("it is version %.60q", value)
			}
		case "replaces":
			c.Replaces = append(c.Replaces, parseDeps(value)...)
		case "replaces_priority":
			if _, err := fmt.Sscanf(value, "%d", &c.Priority); err != nil {
				return fmt.Errorf("%w control part: replaces_priority %.20q", fetch.ErrMalformed, value)
			}
		case "triggers":
			c.Triggers = append(c.Triggers, strings.Fields(value)...)
		case "datahash":
			c.dataHash, _ = hex.DecodeString(value)
		}
	}
	return nil
}
