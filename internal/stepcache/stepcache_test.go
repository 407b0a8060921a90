package stepcache

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// results makes layers in a layout, on top of each other, and their entries.
func results(t *testing.T, l *oci.Layout, contents ...string) Index {
	t.Helper()
	idx := Index{Builder: "tester", Platform: amd64}
	below := ""
	for i, c := range contents {
		e := Entry{Key: fmt.Sprintf("key-%d", i), Epoch: 7, Below: below}
		if c != "" {
			w, err := l.NewBlob()
			check(t, err)
			z := gzip.NewWriter(w)
			_, err = z.Write([]byte(c))
			check(t, errors.Join(err, z.Close()))
			e.Digest, e.Size, err = w.Commit()
			check(t, err)
			e.DiffID = digest.FromString(c)
		}
		below = Chain(below, e)
		idx.Entries = append(idx.Entries, e)
	}
	return idx
}

func newLayout(t *testing.T) *oci.Layout {
	t.Helper()
	l, err := oci.Create(t.TempDir())
	check(t, err)
	return l
}

// at opens places of one cache, anew each time it is called.
type at func(builder string, p pipelines.Platform) Place

func places(t *testing.T) (map[string]at, *registrytest.Registry, string) {
	t.Helper()
	reg := registrytest.Start(t, registrytest.Token("robot", "hush"))
	dir := filepath.Join(t.TempDir(), "a", "cache")
	return map[string]at{
		"local": func(b string, p pipelines.Platform) Place { return Local(dir, b, p) },
		"registry": func(b string, p pipelines.Platform) Place {
			return remote(t, reg, b, p, 0, login(reg))
		},
	}, reg, dir
}

func login(reg *registrytest.Registry) map[string]builders.Credential {
	return map[string]builders.Credential{reg.Host(): {User: "robot", Password: "hush"}}
}

func remote(t *testing.T, reg *registrytest.Registry, b string, p pipelines.Platform, stall time.Duration, c map[string]builders.Credential) Place {
	t.Helper()
	place, err := Registry(reg.Host()+"/group/cache:target-amd64", b, p, RegistryOptions{Credentials: c, AuthFile: "/proc/none", Stall: stall,
		Site: site.Site{Registries: []site.Registry{{Prefix: reg.Host(), Insecure: true}}}})
	check(t, err)
	t.Cleanup(place.Close)
	return place
}

// What is written is read back, and a second writer adds to it without sending again
// what is there.
func TestWriteAndRead(t *testing.T) {
	all, _, _ := places(t)
	for name, open := range all {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if _, err := open("tester", amd64).Read(ctx); !errors.Is(err, ErrNone) {
				t.Fatalf("before anything was written: %v", err)
			}
			from := newLayout(t)
			idx := results(t, from, "one", "", "two")
			sent, err := open("tester", amd64).Write(ctx, idx, from)
			check(t, err)
			if want := idx.Entries[0].Size + idx.Entries[2].Size; sent < want {
				t.Errorf("sent %d bytes of %d", sent, want)
			}
			place := open("tester", amd64)
			got, err := place.Read(ctx)
			check(t, err)
			if !slices.Equal(got.Entries, idx.Entries) || got.Platform != amd64 {
				t.Errorf("read %+v, wrote %+v", got, idx)
			}
			to := newLayout(t)
			check(t, place.Fetch(ctx, got.Entries[2], to))
			b, err := to.ReadBlob(v1.Descriptor{Digest: got.Entries[2].Digest})
			check(t, err)
			if digest.FromBytes(b) != idx.Entries[2].Digest {
				t.Error("fetched something else")
			}
			if sent, err := place.Write(ctx, idx, to); err != nil || sent != 0 {
				t.Errorf("the same again: sent %d, %v", sent, err)
			}
			// Two of its layers stay where they are, one is nowhere.
			more := results(t, from, "one", "", "two", "three")
			more.Entries = append(more.Entries, Entry{Key: "lost", DiffID: digest.FromString("x"), Digest: digest.FromString("lost"), Size: 3})
			few := newLayout(t)
			check(t, few.LinkBlob(from.BlobPath(more.Entries[3].Digest), more.Entries[3].Digest))
			_, err = open("tester", amd64).Write(ctx, more, few)
			check(t, err)
			got, err = open("tester", amd64).Read(ctx)
			check(t, err)
			if !slices.Equal(got.Entries, more.Entries[:4]) {
				t.Errorf("read %+v, wrote %+v", got.Entries, more.Entries)
			}
		})
	}
}

// Caches of others are refused, and replaced only if they are of our kind.
func TestForeign(t *testing.T) {
	all, _, _ := places(t)
	arm := pipelines.Platform{OS: "linux", Architecture: "arm64"}
	for name, open := range all {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			from := newLayout(t)
			idx := results(t, from, "one")
			_, err := open("tester", amd64).Write(ctx, idx, from)
			check(t, err)
			for want, p := range map[string]Place{`it is of builder "tester", not of other`: open("other", amd64), "it is for linux/amd64, not for linux/arm64": open("tester", arm)} {
				if _, err := p.Read(ctx); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
			}
			idx.Builder = "other"
			_, err = open("other", amd64).Write(ctx, idx, from)
			check(t, err)
			if got, err := open("other", amd64).Read(ctx); err != nil || len(got.Entries) != 1 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// plainImage is an image that is no cache.
func plainImage(t *testing.T, l *oci.Layout, label map[string]string) v1.Descriptor {
	t.Helper()
	c, err := l.PutJSON(v1.MediaTypeImageConfig, v1.Image{Platform: oci.ToPlatform(amd64), Config: v1.ImageConfig{Labels: label}})
	check(t, err)
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: c, Layers: []v1.Descriptor{}}
	m.SchemaVersion = 2
	d, err := l.PutJSON(v1.MediaTypeImageManifest, m)
	check(t, err)
	check(t, l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}}))
	return d
}

func TestNotACache(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "image")
	l, err := oci.Create(dir)
	check(t, err)
	want := plainImage(t, l, nil)
	from := newLayout(t)
	idx := results(t, from, "one")
	c := Local(dir, "tester", amd64)
	if _, err := c.Read(ctx); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "it has no label") {
		t.Error(err)
	}
	if _, err := c.Write(ctx, idx, from); err == nil || !strings.Contains(err.Error(), "left alone") {
		t.Errorf("somebody's image was replaced: %v", err)
	}
	if got, err := l.Index(); err != nil || got.Manifests[0].Digest != want.Digest {
		t.Errorf("%+v %v", got, err)
	}
	files := t.TempDir()
	check(t, os.WriteFile(filepath.Join(files, "precious"), nil, 0o644))
	if _, err := Local(files, "tester", amd64).Write(ctx, idx, from); err == nil {
		t.Error("a directory of files was taken for a cache")
	}
	for what, label := range map[string]string{"version 99": `{"format":99}`, "label": `{`, "no layer in it": mustJSON(t, Index{Format: format, Builder: "tester", Entries: idx.Entries})} {
		l, err := oci.Create(filepath.Join(t.TempDir(), "x"))
		check(t, err)
		plainImage(t, l, map[string]string{Label: label})
		if _, err := Local(l.Dir(), "tester", amd64).Read(ctx); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	check(t, err)
	return string(b)
}

// A layer that is not what the index says does not get in, whichever digest is wrong.
func TestCorruptLayers(t *testing.T) {
	from := newLayout(t)
	good := results(t, from, strings.Repeat("content ", 1000)).Entries[0]
	raw, err := from.ReadBlob(v1.Descriptor{Digest: good.Digest})
	check(t, err)
	flipped := bytes.Clone(raw)
	flipped[len(flipped)/2] ^= 1
	other := good
	other.DiffID = digest.FromString("something else")
	for what, c := range map[string]struct {
		e  Entry
		in []byte
	}{"a flipped bit": {good, flipped}, "cut short": {good, raw[:len(raw)-5]}, "longer": {good, append(bytes.Clone(raw), 'x')}, "no gzip": {good, []byte("hello")}, "another tar": {other, raw}} {
		to := newLayout(t)
		if err := receive(bytes.NewReader(c.in), c.e, to); err == nil {
			t.Errorf("%s: was taken", what)
		}
		if es, err := os.ReadDir(filepath.Dir(to.BlobPath(good.Digest))); err != nil || len(es) > 0 {
			t.Errorf("%s: left %v %v", what, es, err)
		}
	}
	check(t, receive(bytes.NewReader(raw), good, newLayout(t)))
}

// A corrupt layer of a directory is replaced by the next writer.
func TestLocalMends(t *testing.T) {
	ctx, from, dir := t.Context(), newLayout(t), filepath.Join(t.TempDir(), "cache")
	idx := results(t, from, "one")
	c := Local(dir, "tester", amd64)
	_, err := c.Write(ctx, idx, from)
	check(t, err)
	l, err := oci.Open(dir)
	check(t, err)
	path := l.BlobPath(idx.Entries[0].Digest)
	check(t, os.Remove(path))
	check(t, os.WriteFile(path, bytes.Repeat([]byte("x"), int(idx.Entries[0].Size)), 0o644))
	check(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".tmp-of-a-killed-writer"), nil, 0o644))
	if err := c.Fetch(ctx, idx.Entries[0], newLayout(t)); err == nil {
		t.Fatal("fetched a corrupt layer")
	}
	_, err = c.Write(ctx, idx, from)
	check(t, err)
	check(t, c.Fetch(ctx, idx.Entries[0], newLayout(t)))
	es, err := os.ReadDir(filepath.Dir(path))
	check(t, err)
	if len(es) != 3 {
		t.Errorf("%d files, want manifest, configuration and layer", len(es))
	}
}

// Whatever two writers do at once, a reader finds one or the other, whole.
func TestTwoWriters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, mine := range []string{"a", "b"} {
		from := newLayout(t)
		idx := results(t, from, "common", mine, mine+" again")
		wg.Go(func() {
			for range 40 {
				if _, err := Local(dir, "tester", amd64).Write(ctx, idx, from); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); cancel() }()
	reads := 0
	for ctx.Err() == nil {
		c := Local(dir, "tester", amd64)
		idx, err := c.Read(t.Context())
		if err != nil {
			continue // it was replaced between two reads, as a reader tells and lives with
		}
		reads++
		if len(idx.Entries) != 3 {
			t.Errorf("%+v", idx)
		}
	}
	idx, err := Local(dir, "tester", amd64).Read(t.Context())
	check(t, err)
	for _, e := range idx.Entries {
		check(t, Local(dir, "tester", amd64).Fetch(t.Context(), e, newLayout(t)))
	}
	if reads == 0 {
		t.Error("nothing was read meanwhile")
	}
}

// Refusals say what to do, passing failures pass, a silent registry is given up.
func TestRegistryFaults(t *testing.T) {
	all, reg, _ := places(t)
	ctx, from := t.Context(), newLayout(t)
	idx := results(t, from, "one", "two")
	none := remote(t, reg, "tester", amd64, 0, nil)
	if _, err := none.Write(ctx, idx, from); err == nil || Hint(err) == "" {
		t.Errorf("without credentials: %v, hint %q", err, Hint(err))
	}
	reg.Fail(registrytest.Fault{Method: "PUT", Path: "/manifests/", Times: 1, Status: http.StatusServiceUnavailable})
	reg.Fail(registrytest.Fault{Method: "PATCH", Times: 1, Cut: true})
	_, err := all["registry"]("tester", amd64).Write(ctx, idx, from)
	check(t, err)
	reg.Heal()
	reg.Fail(registrytest.Fault{Method: "GET", Path: "/blobs/" + idx.Entries[1].Digest.String(), Times: 1, Status: http.StatusBadGateway})
	place := all["registry"]("tester", amd64)
	got, err := place.Read(ctx)
	check(t, err)
	check(t, place.Fetch(ctx, got.Entries[1], newLayout(t)))
	reg.Heal()
	// What it says for two requests: the manifest, and the configuration with the index.
	reg.Forget()
	_, err = all["registry"]("tester", amd64).Read(ctx)
	check(t, err)
	if m, b := reg.Count("GET HEAD", "/manifests/", ""), reg.Count("GET HEAD", "/blobs/", ""); m > 2 || b > 1 {
		t.Errorf("%d requests for manifests, %d for blobs", m, b)
	}
	reg.Fail(registrytest.Fault{Path: "/manifests/", Delay: time.Minute})
	if _, err := remote(t, reg, "tester", amd64, 200*time.Millisecond, login(reg)).Read(ctx); !errors.Is(err, errStalled) {
		t.Errorf("a registry that is silent: %v", err)
	}
}
