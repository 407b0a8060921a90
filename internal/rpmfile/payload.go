package rpmfile

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/cfbuild/cfbuild/internal/xz"
)

// maxDict bounds the dictionary of a payload, in bytes: that of zstd's and xz's
// highest levels.
const maxDict = 128 << 20

// decompress opens a payload by the name of its compressor.
func (p *Package) decompress(r io.Reader) (io.ReadCloser, error) {
	if f := p.Header.String(PayloadFormat); f != "" && f != "cpio" {
		return nil, malformed("its payload is %q, not cpio", f)
	}
	switch c := p.Header.String(PayloadCompressor); c {
	case "", "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, malformed("gzip: %v", err)
		}
		return z, nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDict))
		if err != nil {
			return nil, malformed("zstd: %v", err)
		}
		return z.IOReadCloser(), nil
	case "xz":
		z := xz.NewReader(maxDict)
		if err := z.Reset(bufio.NewReaderSize(r, 64<<10)); err != nil {
			return nil, malformed("xz: %v", err)
		}
		return io.NopCloser(z), nil
	case "bzip2":
		return io.NopCloser(bzip2.NewReader(r)), nil
	case "identity", "uncompressed":
		return io.NopCloser(r), nil
	default:
		return nil, malformed("its payload is compressed with %q, which is not supported", c)
	}
}

// Payload reads the payload from r, which is where [Read] left it. each gets the
// entries in their order: the index of the file in files, and what the entry holds:
// its n bytes are the content of a regular file; of the hard links of one file only
// the last holds it. Contents that are not read are skipped. limit bounds what the
// payload may unpack to, in bytes.
func (p *Package) Payload(r io.Reader, files []File, limit int64, each func(i int, n int64, content io.Reader) error) error {
	z, err := p.decompress(r)
	if err != nil {
		return err
	}
	defer z.Close()
	lim := &limited{r: z, left: limit, max: limit}
	c := &cpio{r: bufio.NewReaderSize(lim, 64<<10), files: files, byPath: make(map[string]int, len(files))}
	for i, f := range files {
		c.byPath[f.Path] = i
	}
	seen := make([]bool, len(files))
	for {
		i, n, err := c.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return payloadErr(err)
		}
		if seen[i] {
			return malformed("file %q is twice in the payload", files[i].Path)
		}
		seen[i] = true
		content := &content{r: c.r, left: n}
		if err := each(i, n, content); err != nil {
			if content.err != nil {
				return payloadErr(content.err)
			}
			return err
		}
		if err := c.skip(content.left + -n&3); err != nil {
			return payloadErr(err)
		}
	}
	// Decoders see their integrity check only at the end of the input.
	if _, err := io.Copy(io.Discard, lim); err != nil {
		return payloadErr(err)
	}
	return nil
}

// content is what one entry holds. It keeps the error of the archive apart from
// those of whoever reads.
type content struct {
	r    io.Reader
	left int64
	err  error
}

func (c *content) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	if err != nil {
		c.err = unexpected(err)
	}
	return n, c.err
}

func payloadErr(err error) error {
	switch {
	case errors.Is(err, ErrMalformed):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return malformed("it ends in its payload")
	}
	return fmt.Errorf("%w: payload: %w", ErrMalformed, err)
}

type limited struct {
	r         io.Reader
	left, max int64
}

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if l.left -= int64(n); l.left < 0 {
		return 0, malformed("it unpacks to more than %d MiB, more than it declares", l.max>>20)
	}
	return n, err
}

// cpio reads the "new ASCII" format (cpio(5)), and the form rpm uses for packages
// with files of 4 GiB and more: "07070X" and the file's index.
type cpio struct {
	r      *bufio.Reader
	files  []File
	byPath map[string]int
}

func (c *cpio) next() (i int, size int64, err error) {
	magic := make([]byte, 6)
	if _, err := io.ReadFull(c.r, magic); err != nil {
		return 0, 0, unexpected(err)
	}
	switch {
	case bytes.Equal(magic, []byte("07070X")):
		n, err := c.hex(1)
		if err != nil {
			return 0, 0, err
		}
		if n[0] >= uint64(len(c.files)) {
			return 0, 0, malformed("its payload has file number %d of %d", n[0], len(c.files))
		}
		if err := c.skip(2); err != nil { // to a multiple of four
			return 0, 0, err
		}
		return int(n[0]), c.stripped(int(n[0])), nil
	case bytes.Equal(magic, []byte("070701")), bytes.Equal(magic, []byte("070702")):
	default:
		return 0, 0, malformed("its payload is no cpio archive")
	}
	n, err := c.hex(13)
	if err != nil {
		return 0, 0, err
	}
	size = int64(n[6])
	if n[11] < 1 || n[11] > 4096 {
		return 0, 0, malformed("its payload has a name of %d bytes", n[11])
	}
	name := make([]byte, n[11])
	if _, err := io.ReadFull(c.r, name); err != nil {
		return 0, 0, unexpected(err)
	}
	if err := c.skip(-(110 + int64(n[11])) & 3); err != nil {
		return 0, 0, err
	}
	path := strings.TrimSuffix(string(name), "\x00")
	if path == "TRAILER!!!" {
		return 0, 0, io.EOF
	}
	path = strings.TrimPrefix(path, ".")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	i, ok := c.byPath[path]
	if !ok {
		return 0, 0, malformed("its payload has %q, which its header does not list", path)
	}
	return i, size, nil
}

// stripped is the size of an entry that the header alone knows: nothing for all
// but the last of several hard links.
func (c *cpio) stripped(i int) int64 {
	f := c.files[i]
	switch f.Mode & ModeType {
	case ModeLink:
		return int64(len(f.Link))
	case ModeRegular:
		if f.Inode != 0 {
			for _, g := range c.files[i+1:] {
				if g.Inode == f.Inode && g.Mode&ModeType == ModeRegular && g.Flags&FlagGhost == 0 {
					return 0
				}
			}
		}
		return f.Size
	}
	return 0
}

func (c *cpio) hex(n int) ([]uint64, error) {
	b := make([]byte, 8*n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, unexpected(err)
	}
	out := make([]uint64, n)
	for i := range out {
		v, err := strconv.ParseUint(string(b[8*i:8*i+8]), 16, 32)
		if err != nil {
			return nil, malformed("its payload has the number %q", b[8*i:8*i+8])
		}
		out[i] = v
	}
	return out, nil
}

func (c *cpio) skip(n int64) error {
	if _, err := io.CopyN(io.Discard, c.r, n); err != nil {
		return unexpected(err)
	}
	return nil
}

// unexpected: the archive ends with a trailer, not with the file.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Cpio writes files and their contents as a payload, without compression. Of files
// with the same inode only the last has the content, as in rpm's own; rpm wants them
// one after the other.
func Cpio(files []File, content func(i int) []byte) []byte {
	var b bytes.Buffer
	entry := func(name string, ino, mode, links, mtime, size, rdev uint64) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			ino, mode, 0, 0, links, mtime, size, 0, 0, rdev>>8, rdev&255, len(name)+1, 0, name)
		b.Write(make([]byte, -b.Len()&3))
	}
	links, left := map[uint64]uint64{}, map[uint64]uint64{}
	for _, f := range files {
		links[f.Inode]++
		left[f.Inode]++
	}
	for i, f := range files {
		if f.Flags&FlagGhost != 0 {
			continue
		}
		data := content(i)
		if f.Mode&ModeType == ModeLink {
			data = []byte(f.Link)
		}
		ino, n := uint64(i+1), uint64(1)
		if f.Inode != 0 {
			ino, n = f.Inode+1<<20, links[f.Inode]
			if left[f.Inode]--; left[f.Inode] > 0 {
				data = nil
			}
		}
		entry("."+f.Path, ino, uint64(f.Mode), n, uint64(f.MTime), uint64(len(data)), uint64(f.Rdev))
		b.Write(data)
		b.Write(make([]byte, -b.Len()&3))
	}
	entry("TRAILER!!!", 0, 0, 1, 0, 0, 0)
	return b.Bytes()
}
