package assemble

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
)

// Types of what hides others, beside those of package tar.
const (
	typeGone   byte = 'w' // a path of lower layers
	typeOpaque byte = 'o' // all that lower layers have in a directory
)

// item is one member of a layer's archive, without its content.
type item struct {
	Path     string // as in Entry
	Type     byte   // of package tar, TypeLink too, or one of the above
	Mode     uint32
	UID, GID int
	Time     int64
	Size     int64
	Link     string // of symbolic links as written, of hard links as Path
	Major    int64
	Minor    int64
	Xattrs   map[string]string
	Sum      string // of a regular file's content, SHA-256 as bytes
	Start    int64  // where the member begins in the archive, in bytes
}

// maxItems bounds the members of one layer.
const maxItems = 4_000_000

// readItems reads an archive. Errors match [oci.ErrHostile], or are those of in.
func readItems(ctx context.Context, in io.Reader) ([]item, error) {
	c := &tally{r: in}
	tr := tar.NewReader(c)
	h := sha256.New()
	buf := make([]byte, 256<<10)
	var out []item
	for {
		// All of the member before was read; what is left of it is padding.
		start := (c.n + 511) &^ 511
		hdr, err := tr.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if len(out) == maxItems {
			return nil, fmt.Errorf("more than %d entries", maxItems)
		}
		it, err := newItem(hdr)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", hdr.Name, err)
		}
		h.Reset()
		if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{tr}, buf); err != nil {
			return nil, err
		}
		if it.Type == tar.TypeReg {
			it.Sum = string(h.Sum(nil))
		}
		if it.Type != 0 {
			it.Start = start
			out = append(out, it)
		}
	}
}

// tally counts what is read.
type tally struct {
	r io.Reader
	n int64
}

func (t *tally) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.n += int64(n)
	return n, err
}

// newItem reads a header. Type 0 is nothing.
func newItem(h *tar.Header) (item, error) {
	if h.Typeflag == tar.TypeXGlobalHeader { // records for all that follow; none of them means anything here
		return item{}, nil
	}
	name, err := oci.CleanName(h.Name)
	if err != nil {
		return item{}, err
	}
	name = name[1:]
	if gone, ok := strings.CutPrefix(path.Base(name), oci.Whiteout); ok {
		return hiding(parent(name), gone)
	}
	it := item{Path: name, Type: h.Typeflag, Mode: uint32(h.Mode & 0o7777), UID: h.Uid, GID: h.Gid, Time: h.ModTime.Unix()}
	switch h.Typeflag {
	case tar.TypeDir, tar.TypeFifo:
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		it.Type, it.Size = tar.TypeReg, h.Size
	case tar.TypeSymlink:
		it.Link, it.Mode = h.Linkname, 0o777
	case tar.TypeLink:
		to, err := oci.CleanName(h.Linkname)
		if err != nil {
			return item{}, err
		}
		it.Link = to[1:]
	case tar.TypeChar, tar.TypeBlock:
		it.Major, it.Minor = h.Devmajor, h.Devminor
	default:
		return item{}, fmt.Errorf("unknown type %q", h.Typeflag)
	}
	if name == "" && it.Type != tar.TypeDir {
		return item{}, fmt.Errorf("%w: the root is no directory", oci.ErrHostile)
	}
	for k, v := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(k, xattrRecord); ok && ContentXattr(attr) {
			if it.Xattrs == nil {
				it.Xattrs = map[string]string{}
			}
			it.Xattrs[attr] = v
		}
	}
	return it, nil
}

// hiding is a whiteout of a name in a directory.
func hiding(dir, gone string) (item, error) {
	switch whole := oci.Whiteout + gone; {
	case whole == oci.WhiteoutOpaque:
		return item{Path: dir, Type: typeOpaque}, nil
	case strings.HasPrefix(whole, oci.WhiteoutMeta):
		return item{}, nil
	case gone == "" || gone == "." || gone == "..":
		return item{}, fmt.Errorf("%w: a whiteout of %q", oci.ErrHostile, gone)
	}
	return item{Path: path.Join(dir, gone), Type: typeGone}, nil
}

// parent is the directory of a path, in the form of paths here.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// itemsVersion changes when the meaning of kept items does.
const itemsVersion = "items 1\n"

// itemsPath is where the items of a layer are kept: by its archive, and by the blob,
// as they also say that this blob was read and is what its digest says.
func itemsPath(cache string, diff, blob digest.Digest) string {
	return filepath.Join(cache, "items", diff.Encoded()+"-"+blob.Encoded()[:16])
}

// keepItems writes items for [keptItems].
func keepItems(file string, items []item) error {
	var b bytes.Buffer
	b.WriteString(itemsVersion)
	b.Write(make([]byte, sha256.Size))
	if err := gob.NewEncoder(&b).Encode(items); err != nil {
		return err
	}
	data := b.Bytes()
	sum := sha256.Sum256(data[len(itemsVersion)+sha256.Size:])
	copy(data[len(itemsVersion):], sum[:])
	return atomicfile.WriteCache(file, data)
}

// keptItems reads what keepItems wrote; a file that is broken or of another version
// is none.
func keptItems(file string) ([]item, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, false
	}
	rest, ok := bytes.CutPrefix(data, []byte(itemsVersion))
	if !ok || len(rest) < sha256.Size {
		return nil, false
	}
	if sum := sha256.Sum256(rest[sha256.Size:]); !bytes.Equal(sum[:], rest[:sha256.Size]) {
		return nil, false
	}
	var items []item
	if gob.NewDecoder(bytes.NewReader(rest[sha256.Size:])).Decode(&items) != nil {
		return nil, false
	}
	return items, true
}
