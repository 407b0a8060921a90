//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// output writes the image as an OCI layout that appears whole or not at all.
func (x *executor) output(ctx context.Context, s state, m made) (_ builders.Result, err error) {
	if err := ctx.Err(); err != nil {
		return builders.Result{}, context.Cause(ctx)
	}
	dir, base := filepath.Split(x.r.Output)
	tmp, err := os.MkdirTemp(dir, "."+base+".partial-")
	if err != nil {
		return builders.Result{}, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return builders.Result{}, err
	}
	l, err := oci.Create(tmp)
	if err != nil {
		return builders.Result{}, err
	}
	var d v1.Descriptor
	if len(s.steps) == 0 && s.src.image != nil {
		d, err = passOn(l, s.src.image)
	} else {
		d, err = x.writeImage(l, s, m)
	}
	if err != nil {
		return builders.Result{}, err
	}
	p := oci.ToPlatform(x.r.Graph.Platform)
	d.Platform = &p
	if err := l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}); err != nil {
		return builders.Result{}, err
	}
	if err := l.Sync(); err != nil {
		return builders.Result{}, err
	}
	if err := os.Rename(tmp, x.r.Output); err != nil {
		return builders.Result{}, err
	}
	return builders.Result{Digest: d.Digest.String(), Size: d.Size}, nil
}

// passOn gives out an image nothing was done to as it is.
func passOn(l *oci.Layout, img *image) (v1.Descriptor, error) {
	for _, d := range append(slices.Clone(img.manifest.Layers), img.manifest.Config, img.stored) {
		if err := l.LinkBlob(img.layout.BlobPath(d.Digest), d.Digest); err != nil {
			return v1.Descriptor{}, err
		}
	}
	d := img.stored
	d.MediaType = v1.MediaTypeImageManifest
	return d, nil
}

func (x *executor) writeImage(l *oci.Layout, s state, m made) (v1.Descriptor, error) {
	c, err := readConfig(s.src.image)
	if err != nil {
		return v1.Descriptor{}, err
	}
	man := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{}}
	if img := s.src.image; img != nil {
		for i, d := range img.manifest.Layers {
			if d, err = x.baseBlob(l, img, d); err != nil {
				return v1.Descriptor{}, fmt.Errorf("base layer: %w", err)
			}
			man.Layers = append(man.Layers, d)
			c.diffIDs = append(c.diffIDs, img.diffIDs[i])
		}
	}
	x.press.Wait()
	shared, err := x.st.blobs()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for i, g := range s.groups() {
		b, err := x.blobAt(g, m, i)
		if err != nil {
			return v1.Descriptor{}, err
		}
		if !b.Empty {
			if err := l.LinkBlob(shared.BlobPath(b.Digest), b.Digest); err != nil {
				return v1.Descriptor{}, err
			}
			man.Layers = append(man.Layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: b.Digest, Size: b.Size})
			c.diffIDs = append(c.diffIDs, b.DiffID)
		}
		var names []string
		for _, st := range g.steps {
			names = append(names, st.node.Name)
			if o, ok := st.node.Op.(pipelines.Configure); ok {
				c.configure(o)
			}
		}
		c.history = append(c.history, v1.History{Created: &x.epoch, CreatedBy: strings.Join(names, "; "), Comment: "cfbuild", EmptyLayer: b.Empty})
	}
	raw, err := c.marshal(x.epoch, x.r.Graph.Platform)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if man.Config, err = l.PutJSON(v1.MediaTypeImageConfig, raw); err != nil {
		return v1.Descriptor{}, err
	}
	return l.PutJSON(v1.MediaTypeImageManifest, man)
}

// blobAt gives the blob of a state's group.
func (x *executor) blobAt(g group, m made, i int) (blob, error) {
	switch {
	case g.bare():
		return blob{Empty: true}, nil
	case m.blobs != nil:
		return m.blobs[i], nil
	}
	return x.st.blobOf(m.groups[i], x.epoch)
}

// baseBlob puts a base layer into the output as it came; one that came without
// compression is compressed, once.
func (x *executor) baseBlob(l *oci.Layout, img *image, d v1.Descriptor) (v1.Descriptor, error) {
	out := v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	if d.MediaType != v1.MediaTypeImageLayer {
		return out, l.LinkBlob(img.layout.BlobPath(d.Digest), d.Digest)
	}
	shared, err := x.st.blobs()
	if err != nil {
		return out, err
	}
	meta := filepath.Join(x.st.dir, "meta", "gz-"+d.Digest.Encoded())
	var b blob
	if !readJSON(meta, &b) || !hasBlob(shared, b.Digest, b.Size) {
		if b, err = gzipBlob(shared, img.layout.BlobPath(d.Digest)); err != nil {
			return out, err
		}
		if err := writeJSON(meta, b); err != nil {
			return out, err
		}
	}
	out.MediaType, out.Digest, out.Size = v1.MediaTypeImageLayerGzip, b.Digest, b.Size
	return out, l.LinkBlob(shared.BlobPath(b.Digest), b.Digest)
}

func gzipBlob(l *oci.Layout, path string) (b blob, err error) {
	f, err := os.Open(path)
	if err != nil {
		return b, err
	}
	defer f.Close()
	w, err := l.NewBlob()
	if err != nil {
		return b, err
	}
	defer w.Abort()
	z := oci.NewGzipWriter(w)
	_, err = io.Copy(z, f)
	if err = errors.Join(err, z.Close()); err != nil {
		return b, err
	}
	b.Digest, b.Size, err = w.Commit()
	return b, err
}

// config is an image configuration (OCI image spec, config.md) of which fields
// that only others know stay as they are.
type config struct {
	top     map[string]json.RawMessage
	image   map[string]json.RawMessage // "config"
	typed   v1.ImageConfig
	diffIDs []digest.Digest
	history []v1.History
	author  string
}

func readConfig(img *image) (*config, error) {
	c := &config{top: map[string]json.RawMessage{}, image: map[string]json.RawMessage{}, diffIDs: []digest.Digest{}}
	if img == nil {
		return c, nil
	}
	var v v1.Image
	if err := errors.Join(json.Unmarshal(img.config, &c.top), json.Unmarshal(img.config, &v)); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if raw, ok := c.top["config"]; ok {
		if err := json.Unmarshal(raw, &c.image); err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
	}
	if c.image == nil {
		c.image = map[string]json.RawMessage{}
	}
	c.typed, c.history, c.author = v.Config, v.History, v.Author
	return c, nil
}

// configAt is what the configuration is before a step of a state.
func (s state) configAt(step int) (*config, error) {
	c, err := readConfig(s.src.image)
	if err != nil {
		return nil, err
	}
	for _, st := range s.steps[:step] {
		if o, ok := st.node.Op.(pipelines.Configure); ok {
			c.configure(o)
		}
	}
	return c, nil
}

func (c *config) configure(o pipelines.Configure) {
	t := &c.typed
	t.Env = mergeEnv(t.Env, o.Env)
	if len(o.Labels) > 0 {
		t.Labels = maps.Clone(t.Labels)
		if t.Labels == nil {
			t.Labels = map[string]string{}
		}
		maps.Copy(t.Labels, o.Labels)
	}
	if len(o.Entrypoint) > 0 {
		t.Entrypoint = o.Entrypoint
	}
	if len(o.Cmd) > 0 {
		t.Cmd = o.Cmd
	}
	if o.User != "" {
		t.User = o.User
	}
	if o.WorkingDir != "" {
		t.WorkingDir = o.WorkingDir
	}
	if o.StopSignal != "" {
		t.StopSignal = o.StopSignal
	}
	t.Volumes = addKeys(t.Volumes, o.Volumes)
	ports := slices.Clone(o.ExposedPorts)
	for i, p := range ports {
		if !strings.Contains(p, "/") {
			ports[i] = p + "/tcp"
		}
	}
	t.ExposedPorts = addKeys(t.ExposedPorts, ports)
	if o.Author != "" {
		c.author = o.Author
	}
}

func addKeys(m map[string]struct{}, keys []string) map[string]struct{} {
	if len(keys) == 0 {
		return m
	}
	out := map[string]struct{}{}
	maps.Copy(out, m)
	for _, k := range keys {
		out[k] = struct{}{}
	}
	return out
}

// mergeEnv sets variables: those that are there keep their place, new ones follow
// in order of their names.
func mergeEnv(env []string, set map[string]string) []string {
	out := slices.Clone(env)
	for _, k := range slices.Sorted(maps.Keys(set)) {
		kv := k + "=" + set[k]
		if i := slices.IndexFunc(out, func(e string) bool { return strings.HasPrefix(e, k+"=") }); i >= 0 {
			out[i] = kv
		} else {
			out = append(out, kv)
		}
	}
	return out
}

// marshal writes the configuration; keys come out sorted.
func (c *config) marshal(epoch time.Time, p pipelines.Platform) (json.RawMessage, error) {
	plat := oci.ToPlatform(p)
	set := func(m map[string]json.RawMessage, key string, v any, empty bool) error {
		if empty {
			delete(m, key)
			return nil
		}
		b, err := json.Marshal(v)
		m[key] = b
		return err
	}
	t := c.typed
	err := errors.Join(
		set(c.image, "Env", t.Env, len(t.Env) == 0),
		set(c.image, "Labels", t.Labels, len(t.Labels) == 0),
		set(c.image, "Entrypoint", t.Entrypoint, len(t.Entrypoint) == 0),
		set(c.image, "Cmd", t.Cmd, len(t.Cmd) == 0),
		set(c.image, "User", t.User, t.User == ""),
		set(c.image, "WorkingDir", t.WorkingDir, t.WorkingDir == ""),
		set(c.image, "StopSignal", t.StopSignal, t.StopSignal == ""),
		set(c.image, "Volumes", t.Volumes, len(t.Volumes) == 0),
		set(c.image, "ExposedPorts", t.ExposedPorts, len(t.ExposedPorts) == 0),
		set(c.top, "config", c.image, false),
		set(c.top, "created", epoch, false),
		set(c.top, "author", c.author, c.author == ""),
		set(c.top, "architecture", plat.Architecture, false),
		set(c.top, "os", plat.OS, false),
		set(c.top, "variant", plat.Variant, plat.Variant == ""),
		set(c.top, "rootfs", v1.RootFS{Type: "layers", DiffIDs: c.diffIDs}, false),
		set(c.top, "history", c.history, len(c.history) == 0),
	)
	// What Docker kept there says where and from what an image was made.
	for _, k := range []string{"container", "container_config", "docker_version", "id", "parent"} {
		delete(c.top, k)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(c.top)
}
