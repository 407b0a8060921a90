package assemble

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Config is an image configuration (OCI image spec, config.md) of which fields
// that only others know stay as they are.
type Config struct {
	// Image is what containers get.
	Image v1.ImageConfig

	top     map[string]json.RawMessage
	image   map[string]json.RawMessage // "config"
	diffIDs []digest.Digest
	history []v1.History
	author  string
}

// ReadConfig reads the configuration of an image; nil is the empty image.
func ReadConfig(img *Image) (*Config, error) {
	c := &Config{top: map[string]json.RawMessage{}, image: map[string]json.RawMessage{}, diffIDs: []digest.Digest{}}
	if img == nil {
		return c, nil
	}
	var v v1.Image
	if err := errors.Join(json.Unmarshal(img.Config, &c.top), json.Unmarshal(img.Config, &v)); err != nil {
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
	c.Image, c.history, c.author = v.Config, v.History, v.Author
	return c, nil
}

// Configure applies a step.
func (c *Config) Configure(o pipelines.Configure) {
	t := &c.Image
	t.Env = MergeEnv(t.Env, o.Env)
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

// MergeEnv sets variables: those that are there keep their place, new ones follow
// in order of their names.
func MergeEnv(env []string, set map[string]string) []string {
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
func (c *Config) marshal(epoch time.Time, p pipelines.Platform) (json.RawMessage, error) {
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
	t := c.Image
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
