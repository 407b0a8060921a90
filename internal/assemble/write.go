package assemble

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Base is the image that steps stand on. Its layers are passed on as they are; those
// that came without compression are compressed.
type Base struct {
	Layout *oci.Layout
	Desc   v1.Descriptor
}

// Group is steps and what they changed.
type Group struct {
	Nodes []pipelines.Node
	// Raw is their layer in Spec.Raw: a tar, plain, or compressed with gzip or
	// zstd. Nil: they changed nothing, or only the configuration.
	Raw *v1.Descriptor
	// Started is when the steps began, on the clock that Raw's time stamps are of:
	// later ones become the epoch even if that is later still. Zero: not known.
	Started time.Time
	// Points are paths that whoever ran the steps made to mount something on
	// ("proc"): an empty file or directory there that was not below is left out.
	Points []string
}

// Spec is an image to be made.
type Spec struct {
	Platform pipelines.Platform
	// Epoch bounds all time stamps and is the created time; whole seconds. The zero
	// value is 1970.
	Epoch time.Time
	// Base is nil for an image from scratch.
	Base *Base
	// Groups are what [Groups] makes of the steps, in order.
	Groups []Group
	// Raw has the groups' layers.
	Raw *oci.Layout
	// LostXattrs: whoever wrote the raw layers left out all extended attributes but
	// security.capability, as BuildKit's exporters do. Directories, and files whose
	// content is as it was, then have the others of what is below.
	LostXattrs bool
	// Output is the directory to make; it must not exist.
	Output string
	// TempDir takes the archive of a layer while it is put in order, in files
	// without a name. Default: Cache.
	TempDir string
	// Cache is a directory that keeps finished layers and what is in layers between
	// builds; it is made if need be, and several builds may use it at once.
	Cache string
}

// Write makes an image out of a base and the raw layers of steps, as an OCI layout
// that appears whole or not at all. What the raw layers look like beyond their
// content does not show in it: the same content gives the same digest.
//
// Errors: [LayerError] for a layer that is broken or leads out of the image; those of
// the file system and of ctx. Result has digest and size.
func Write(ctx context.Context, s Spec) (builders.Result, error) {
	if _, err := os.Lstat(s.Output); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fs.ErrExist
		}
		return builders.Result{}, fmt.Errorf("output %s: %w", s.Output, err)
	}
	s.Epoch = s.Epoch.UTC().Truncate(time.Second)
	if s.Epoch.IsZero() {
		s.Epoch = time.Unix(0, 0).UTC()
	}
	c, err := openCache(ctx, s.Cache)
	if err != nil {
		return builders.Result{}, fmt.Errorf("layer cache: %w", err)
	}
	defer c.close()
	if s.TempDir == "" {
		s.TempDir = s.Cache
	}
	for {
		res, err := write(ctx, s, c)
		// A blob that rotted in the cache is gone now, and made again.
		if !errors.Is(err, errRotten) {
			return res, err
		}
	}
}

// ReadAhead verifies the layers of a base and keeps what is in them in the cache, so that
// [Write] finds it there: for builders whose steps run elsewhere meanwhile. Errors are
// those that Write would give.
func ReadAhead(ctx context.Context, base Base, p pipelines.Platform, dir string) error {
	c, err := openCache(ctx, dir)
	if err != nil {
		return fmt.Errorf("layer cache: %w", err)
	}
	defer c.close()
	a := &assembly{c: c}
	if a.base, err = OpenImage(base.Layout, base.Desc, p); err != nil {
		return fmt.Errorf("base: %w", err)
	}
	return a.readBase(ctx)
}

func write(ctx context.Context, s Spec, c *cache) (builders.Result, error) {
	a := &assembly{s: s, c: c, below: emptyTree()}
	var err error
	if s.Base != nil {
		if a.base, err = OpenImage(s.Base.Layout, s.Base.Desc, s.Platform); err != nil {
			return builders.Result{}, fmt.Errorf("base: %w", err)
		}
		if err := a.readBase(ctx); err != nil {
			return builders.Result{}, err
		}
	}
	var groups []Made
	for _, g := range s.Groups {
		m := Made{Nodes: g.Nodes, Layer: Layer{Empty: true}}
		if g.Raw != nil {
			if m.Layer, err = a.layer(ctx, g); err != nil {
				if ctx.Err() != nil {
					return builders.Result{}, context.Cause(ctx)
				}
				return builders.Result{}, &LayerError{&g.Nodes[len(g.Nodes)-1], g.Raw.Digest, err}
			}
		}
		groups = append(groups, m)
	}
	return Output(ctx, s.Output, s.Platform, func(l *oci.Layout) (v1.Descriptor, error) {
		if len(groups) == 0 && a.base != nil {
			return PassOn(l, a.base)
		}
		return Put(l, c.blobs, s.Platform, s.Epoch, a.base, groups)
	})
}

var errRotten = errors.New("a kept layer is no longer what it was")

// assembly is one image being made.
type assembly struct {
	s     Spec
	c     *cache
	base  *Image
	chain digest.Digest // of what is below; empty at the bottom

	sources []source
	below   *tree // of the first applied sources
	applied int
}

// push puts a layer on top.
func (a *assembly) push(s source) {
	a.sources = append(a.sources, s)
	if a.chain == "" {
		a.chain = s.diff
	} else {
		a.chain = digest.FromString(a.chain.String() + " " + s.diff.String())
	}
}

// readBase verifies the layers of the base that were not read before.
func (a *assembly) readBase(ctx context.Context) error {
	for i, d := range a.base.Manifest.Layers {
		s := source{layout: a.base.Layout, desc: d, diff: a.base.DiffIDs[i]}
		if err := errors.Join(d.Digest.Validate(), s.diff.Validate()); err != nil {
			return &LayerError{nil, d.Digest, fmt.Errorf("%w: %w", oci.ErrCorrupt, err)}
		}
		if !a.c.hasItems(s) {
			var err error
			if s.items, err = s.read(ctx, nil); err == nil {
				err = a.c.keepItems(s)
			}
			if err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return &LayerError{nil, d.Digest, err}
			}
		}
		a.push(s)
	}
	return nil
}

// tree is the root filesystem that all layers so far make.
func (a *assembly) tree(ctx context.Context) (*tree, error) {
	for ; a.applied < len(a.sources); a.applied++ {
		s := &a.sources[a.applied]
		if s.items == nil {
			if items, ok := a.c.items(*s); ok {
				s.items = items
			} else {
				var err error
				if s.items, err = s.read(ctx, nil); err == nil {
					err = a.c.keepItems(*s)
				}
				if errors.Is(err, oci.ErrCorrupt) && s.layout == a.c.blobs.Layout {
					if rerr := os.Remove(s.layout.BlobPath(s.desc.Digest)); rerr == nil {
						return nil, errRotten
					}
				}
				if err != nil {
					return nil, fmt.Errorf("layer %s below: %w", s.desc.Digest, err)
				}
			}
		}
		t, err := a.below.with(a.applied, s.items, false, nil)
		if err != nil {
			return nil, fmt.Errorf("layer %s below: %w", s.desc.Digest, err)
		}
		a.below, s.items = t, nil
	}
	return a.below, nil
}

// key is what a finished layer depends on.
func (a *assembly) key(g Group) string {
	b, err := json.Marshal([]any{layerVersion, g.Raw.Digest, a.chain, a.s.Epoch.Unix(), started(g), a.s.LostXattrs, g.Points})
	if err != nil {
		panic(fmt.Sprintf("assemble: a key does not marshal: %v", err)) // strings and numbers do
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// layerVersion changes when layers are made in another way.
const layerVersion = 1

// tempDir is where archives are spooled.
func (a *assembly) tempDir() string { return filepath.Clean(a.s.TempDir) }
