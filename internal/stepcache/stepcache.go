// Package stepcache keeps the results of steps outside a machine: in a repository of
// a registry or in a directory, as an image that any registry takes. Its layers are
// what the steps made, and a label of its configuration says which step made which.
//
// A cache appears whole or not at all, and whatever is read from one is compared with
// its digests. What cannot be checked is that a layer is what a step would make: who
// may write to a cache decides what images built with it consist of.
package stepcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Label holds an [Index] as JSON in the configuration of a cache's image.
const Label = "io.github.cfbuild.step-cache"

// format is the version of Index; another one is no cache to us.
const format = 1

// ErrNone: there is no cache at the place yet.
var ErrNone = errors.New("there is no cache yet")

// ErrForeign: what is at the place is not a cache of ours for the platform.
var ErrForeign = errors.New("is not a step cache")

// otherCache is a step cache of ours, but not one we can use: it may be replaced.
type otherCache struct{ why string }

func (o *otherCache) Error() string        { return ErrForeign.Error() + " for this build: " + o.why }
func (o *otherCache) Is(target error) bool { return target == ErrForeign }

// mayReplace says whether what is at a place, as Read found it, is ours to replace.
func mayReplace(err error) error {
	var other *otherCache
	if err == nil || !errors.Is(err, ErrForeign) || errors.As(err, &other) {
		return nil
	}
	return fmt.Errorf("what is there %w; it is left alone", err)
}

// Entry is the result of one step.
type Entry struct {
	// Key of the step, in the builder's terms.
	Key string `json:"key"`
	// Epoch bounds the time stamps in the layer, Unix seconds: the same step has
	// another layer at another epoch.
	Epoch int64 `json:"epoch"`
	// Below names the layers of the steps below, see [Chain]: on others the layer
	// means something else.
	Below string `json:"below,omitempty"`
	// DiffID is the digest of the layer's tar, Digest and Size (bytes) are the
	// gzip's; all are zero when the step changed no file.
	DiffID digest.Digest `json:"diff_id,omitempty"`
	Digest digest.Digest `json:"digest,omitempty"`
	Size   int64         `json:"size,omitempty"`
}

// Empty: the step changed no file.
func (e Entry) Empty() bool { return e.Digest == "" }

// Chain names the layers of steps, given that of those below, "" at the bottom.
func Chain(below string, e Entry) string {
	if e.Empty() {
		return below
	}
	return digest.FromString(below + " " + e.DiffID.String()).Encoded()
}

// Index is what a cache holds.
type Index struct {
	Format int `json:"format"`
	// Builder whose keys these are.
	Builder string  `json:"builder"`
	Entries []Entry `json:"entries"`

	// Platform the steps were made for.
	Platform pipelines.Platform `json:"-"`
}

// Place is where a cache is kept.
type Place interface {
	// String names it in messages.
	String() string
	// Read gives the index. The error matches [ErrNone] or [ErrForeign] when there is
	// none to be used.
	Read(ctx context.Context) (Index, error)
	// Fetch brings the layer of an entry of the index into a layout, and verifies it.
	Fetch(ctx context.Context, e Entry, to *oci.Layout) error
	// Write replaces what is there, unless it is the same. Layers that from lacks and
	// the place has stay there; entries whose layers are nowhere are left out. It
	// gives the bytes that were sent, 0 when nothing had to be.
	Write(ctx context.Context, idx Index, from *oci.Layout) (int64, error)
	// Close ends connections. The place can still be used.
	Close()
}

// form is how a manifest is written: registries get docker's schema 2, which all of
// them take, directories the OCI form.
type form struct{ manifest, config, layer string }

var (
	dockerForm = form{"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json",
		"application/vnd.docker.image.rootfs.diff.tar.gzip"}
	ociForm = form{v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, v1.MediaTypeImageLayerGzip}
)

// encode writes the index as an image.
func encode(idx Index, f form) (config, manifest []byte, err error) {
	idx.Format = format
	label, err := json.Marshal(idx)
	if err != nil {
		return nil, nil, err
	}
	c := v1.Image{Platform: oci.ToPlatform(idx.Platform), Config: v1.ImageConfig{Labels: map[string]string{Label: string(label)}},
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: f.manifest, Layers: []v1.Descriptor{}}
	for _, e := range layers(idx) {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, e.DiffID)
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: f.layer, Digest: e.Digest, Size: e.Size})
	}
	if config, err = json.Marshal(c); err != nil {
		return nil, nil, err
	}
	if len(config) > oci.MaxJSON {
		return nil, nil, fmt.Errorf("%d steps are more than a cache can list", len(idx.Entries))
	}
	m.Config = v1.Descriptor{MediaType: f.config, Digest: digest.FromBytes(config), Size: int64(len(config))}
	manifest, err = json.Marshal(m)
	return config, manifest, err
}

// layers lists the entries that have a layer, each layer once.
func layers(idx Index) []Entry {
	var out []Entry
	seen := map[digest.Digest]bool{}
	for _, e := range idx.Entries {
		if !e.Empty() && !seen[e.Digest] {
			seen[e.Digest] = true
			out = append(out, e)
		}
	}
	return out
}

// decodeManifest finds the configuration of an image that may be a cache.
func decodeManifest(raw []byte) (v1.Manifest, error) {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("%w: its manifest: %w", ErrForeign, err)
	}
	switch m.Config.MediaType {
	case dockerForm.config, ociForm.config:
	default:
		return m, fmt.Errorf("%w: its configuration is of type %q", ErrForeign, m.Config.MediaType)
	}
	if err := m.Config.Digest.Validate(); err != nil || m.Config.Size < 0 || m.Config.Size > oci.MaxJSON {
		return m, fmt.Errorf("%w: its manifest names no configuration", ErrForeign)
	}
	return m, nil
}

// decode reads the index of a cache for a builder and platform.
func decode(m v1.Manifest, config []byte, builder string, p pipelines.Platform) (Index, error) {
	if got := digest.FromBytes(config); got != m.Config.Digest {
		return Index{}, fmt.Errorf("its configuration is %s, not %s", got, m.Config.Digest)
	}
	var c v1.Image
	if err := json.Unmarshal(config, &c); err != nil {
		return Index{}, fmt.Errorf("%w: its configuration: %w", ErrForeign, err)
	}
	label, ok := c.Config.Labels[Label]
	if !ok {
		return Index{}, fmt.Errorf("%w: it has no label %s", ErrForeign, Label)
	}
	var idx Index
	if err := json.Unmarshal([]byte(label), &idx); err != nil {
		return Index{}, fmt.Errorf("%w: label %s: %w", ErrForeign, Label, err)
	}
	idx.Platform = oci.FromPlatform(c.Platform)
	switch {
	case idx.Format != format:
		return Index{}, &otherCache{fmt.Sprintf("its form is version %d, this program reads %d", idx.Format, format)}
	case idx.Builder != builder:
		return Index{}, &otherCache{fmt.Sprintf("it is of builder %q, not of %s", idx.Builder, builder)}
	case idx.Platform != p:
		return Index{}, &otherCache{fmt.Sprintf("it is for %s, not for %s", idx.Platform, p)}
	}
	there := map[digest.Digest]int64{}
	for _, l := range m.Layers {
		there[l.Digest] = l.Size
	}
	for _, e := range idx.Entries {
		size, ok := there[e.Digest]
		if !e.Empty() && (!ok || size != e.Size || e.DiffID.Validate() != nil || e.Digest.Validate() != nil) {
			return Index{}, &otherCache{fmt.Sprintf("step %.12s has no layer in it", e.Key)}
		}
	}
	return idx, nil
}
