// Package rootfs is the filesystem of an OCI image, read from its layout in one
// pass over the layers: without extracting, without root and without a namespace.
//
// Layers are applied as the image spec's layer.md says: whiteouts and opaque
// directories hide what lower layers have, whatever their place in the archive; a
// directory keeps what is in it, all else replaces; hard links share a file.
// Names that lead out of the image are refused, digests are verified.
//
// Memory is bounded by the number of entries and by what [Options.Keep] asks for;
// [Options.Visit] sees every file's content as it streams by.
package rootfs

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Type of an entry.
type Type string

// The types. Whiteout and Opaque are only among a layer's own entries.
const (
	File     Type = "file"
	Dir      Type = "dir"
	Symlink  Type = "symlink"
	Char     Type = "char"
	Block    Type = "block"
	Fifo     Type = "fifo"
	Whiteout Type = "whiteout" // Path of lower layers is hidden, with what is below it
	Opaque   Type = "opaque"   // what lower layers have below Path is hidden
)

// Entry is one path of an image or of a layer. Entries are shared: do not change
// them.
type Entry struct {
	// Path is absolute and clean; "/" is the root.
	Path string
	Type Type
	// Mode is the permission bits with setuid, setgid and sticky (07777). It is
	// 0777 for symbolic links.
	Mode     uint32
	UID, GID int
	// Link is the target of a symbolic link, as written.
	Link string
	// Hard is the name that a hard link was made to; its other fields are those of
	// that file.
	Hard string
	// Inode is equal for names of the same file, and at least 1.
	Inode int
	// Dev is "major:minor" of a device.
	Dev string
	// Xattrs are extended attributes by name.
	Xattrs map[string]string
	// Size of a file's content in bytes.
	Size    int64
	ModTime time.Time
	// Layer is the index of the layer that has the entry, from 0.
	Layer int
	// Implied: a directory that no layer has and that a path below it needs. Its
	// mode is 0755, its owner 0:0.
	Implied bool

	c *content // of a regular file
}

// content is where a file's bytes are: kept, or the nth header of a layer.
type content struct {
	data  []byte
	kept  bool
	layer int
	nth   int
}

// Layer is one layer by itself.
type Layer struct {
	Digest digest.Digest
	DiffID digest.Digest
	// Size is that of the blob, Bytes that of the unpacked archive.
	Size, Bytes int64
	// CreatedBy is the history's command for this layer; empty where the history
	// does not fit the layers.
	CreatedBy string
	// Entries in the archive's order, whiteouts included. Of a name that is there
	// twice the last counts, and is listed.
	Entries []*Entry
	// Hidden are the entries of lower layers that this one deleted or replaced,
	// sorted by path. A directory that is only stated again is not among them.
	Hidden []*Entry
}

// Options of [Open]. The zero value keeps nothing.
type Options struct {
	// Keep says whose content stays in memory for [FS.ReadFile], at most
	// KeepBytes (default 64 MiB) in all. What is not kept can be read too: the
	// layer is read again.
	Keep      func(e *Entry) bool
	KeepBytes int64
	// Visit is called for each regular file of each layer in the archives' order,
	// also for files that a later layer hides, with its content; it need not read
	// it all. Hard links are not visited. An error ends the reading.
	Visit func(layer int, e *Entry, r io.Reader) error
	// MaxEntries bounds the entries of all layers. Default 4 million.
	MaxEntries int
}

// What is wrong with a layer, in a [LayerError].
var (
	// ErrHostile: a name leads out of the image, or is below something that is not
	// a directory.
	ErrHostile = oci.ErrHostile
	// ErrCorrupt: content that is not what a digest or size says, or no archive.
	ErrCorrupt = oci.ErrCorrupt
)

// LayerError says which layer cannot be read.
type LayerError struct {
	Index  int // from 0
	Digest digest.Digest
	Err    error
}

func (e *LayerError) Error() string {
	if e.Digest == "" {
		return fmt.Sprintf("layer %d: %v", e.Index, e.Err)
	}
	return fmt.Sprintf("layer %d (%s): %v", e.Index, e.Digest, e.Err)
}

func (e *LayerError) Unwrap() error { return e.Err }

// FS is an image's filesystem. After [Open] it may be used by several goroutines.
type FS struct {
	Manifest v1.Manifest
	Config   v1.Image
	Layers   []Layer

	layout *oci.Layout
	opts   Options
	root   *node
	inodes int
	count  int
	kept   int64
}

// New gives an empty filesystem to [FS.Add] archives to.
func New(o Options) *FS {
	if o.KeepBytes == 0 {
		o.KeepBytes = 64 << 20
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 4_000_000
	}
	return &FS{opts: o, root: &node{}}
}

// Open reads the image of a layout with the given manifest. Errors: [LayerError]
// with [ErrHostile] or [ErrCorrupt]; those of Visit; those of ctx.
func Open(ctx context.Context, l *oci.Layout, d v1.Descriptor, o Options) (*FS, error) {
	f := New(o)
	f.layout = l
	var err error
	if f.Manifest, f.Config, err = l.Image(d); err != nil {
		return nil, err
	}
	diffs := f.Config.RootFS.DiffIDs
	if len(diffs) != len(f.Manifest.Layers) {
		return nil, fmt.Errorf("%w: the manifest has %d layers, the configuration %d", ErrCorrupt, len(f.Manifest.Layers), len(diffs))
	}
	by := createdBy(f.Config.History, len(diffs))
	for i, b := range f.Manifest.Layers {
		if err := f.addBlob(ctx, b, diffs[i], by[i]); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, &LayerError{i, b.Digest, err}
		}
	}
	return f, nil
}

// createdBy gives the commands of n layers.
func createdBy(history []v1.History, n int) []string {
	var out []string
	for _, h := range history {
		if !h.EmptyLayer {
			out = append(out, h.CreatedBy)
		}
	}
	if len(out) != n {
		return make([]string, n)
	}
	return out
}
