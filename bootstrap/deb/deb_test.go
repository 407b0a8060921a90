package deb_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/bootstrap/deb/debtest"
	"github.com/cfbuild/cfbuild/bootstrap/deb/unpack"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

var released = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// world is a small signed archive on loopback.
type world struct {
	suite  archivetest.Suite
	mirror *archivetest.Mirror
	req    bootstrap.Request
	mu     sync.Mutex
	events []pipelines.Event
}

// pkg makes a package for the archive; its fields are in the index as well.
func pkg(t testing.TB, d debtest.Deb) archivetest.Package {
	if d.Version == "" {
		d.Version = "1.0-1"
	}
	d.Fields = append(d.Fields, "Priority: optional")
	return archivetest.Package{Name: d.Name, Version: d.Version, Arch: d.Arch, Fields: d.Fields, Data: d.Build(t)}
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{}
	dir := t.TempDir()
	key := archivetest.NewKey(t, released.Add(-time.Hour))
	w.suite = archivetest.Suite{Codename: "testing", Date: released, Key: key, Packages: []archivetest.Package{
		pkg(t, debtest.Deb{Name: "base-files", Arch: "amd64", Fields: []string{"Essential: yes", "Pre-Depends: awk"},
			Files: []*tar.Header{debtest.Dir("tmp"), debtest.File("etc/debian_version", "test\n")}}),
		pkg(t, debtest.Deb{Name: "mawk", Arch: "amd64", Fields: []string{"Provides: awk"}, Compression: "zst",
			Files: []*tar.Header{debtest.File("bin/mawk", strings.Repeat("mawk", 100_000))}}),
		pkg(t, debtest.Deb{Name: "dpkg", Arch: "amd64", Version: "1:1.22.6+b1-2", Fields: []string{"Essential: yes"},
			Control: map[string]string{"preinst": "#!/bin/sh\n"}, Files: []*tar.Header{debtest.File("usr/bin/dpkg", "dpkg")}}),
		pkg(t, debtest.Deb{Name: "app", Fields: []string{"Depends: lib"}, Files: []*tar.Header{debtest.File("usr/bin/app", "app")}}),
		pkg(t, debtest.Deb{Name: "lib", Arch: "amd64", Files: []*tar.Header{debtest.File("usr/lib/lib.so", "lib")}}),
	}}
	w.mirror = archivetest.Serve(t, dir)
	w.update(t)
	w.req = bootstrap.Request{
		Job: "job",
		Op: pipelines.Bootstrap{Method: "deb", Include: []string{"app"},
			Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "testing"}}},
		Platform: pipelines.Platform{OS: "linux", Architecture: "amd64"},
		Site: site.Site{Mirrors: map[string][]site.Mirror{"debian": {{URL: w.mirror.URL}}},
			Keyrings: map[string]site.Keyring{"debian": key.Keyring(t)}},
		CacheDir: t.TempDir(), Now: released.Add(time.Hour),
		Events: func(e pipelines.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
	}
	return w
}

// update writes the archive again. Servers tell a change by whole seconds.
func (w *world) update(t testing.TB) {
	t.Helper()
	w.suite.Write(t, w.mirror.Dir)
	if err := os.Chtimes(filepath.Join(w.mirror.Dir, "dists/testing/InRelease"), w.suite.Date, w.suite.Date); err != nil {
		t.Fatal(err)
	}
}

func (w *world) make(t testing.TB) bootstrap.Root {
	t.Helper()
	root, err := deb.New(deb.Options{}).Make(context.Background(), w.req)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// files of a root's layer, with their contents.
func files(t testing.TB, root bootstrap.Root) map[string]string {
	t.Helper()
	f, err := os.Open(layerOf(t, root))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(data)
	}
}

func TestMake(t *testing.T) {
	w := newWorld(t)
	root := w.make(t)
	if root.Cached || !root.Epoch.Equal(released) {
		t.Errorf("cached %v, epoch %v", root.Cached, root.Epoch)
	}
	var why []string
	for _, p := range root.Packages {
		why = append(why, p.Name+": "+p.Why)
		if p.Size == 0 || len(p.SHA256) != 64 || p.Version == "" || p.Architecture == "" {
			t.Errorf("package %+v", p)
		}
	}
	if want := []string{"app: requested", "base-files: essential", "dpkg: essential", "lib: depends: app", "mawk: depends: base-files"}; !slices.Equal(why, want) {
		t.Errorf("packages %q, want %q", why, want)
	}
	got := files(t, root)
	if got["etc/debian_version"] != "test\n" || len(got["usr/bin/mawk"]) != 400_000 || got["usr/bin/app"] != "app" {
		t.Error("the layer lacks files")
	}
	l, err := oci.Open(root.Layout)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := l.Manifest(w.req.Platform)
	if err != nil || desc.Digest.String() != root.Digest {
		t.Fatalf("manifest %v, %v", desc, err)
	}
	if err := l.Verify(desc); err != nil {
		t.Error(err)
	}
	_, config, err := l.Image(desc)
	if err != nil || !config.Created.Equal(released) || len(config.RootFS.DiffIDs) != 1 || len(config.Config.Env) != 1 {
		t.Errorf("config %+v, %v", config, err)
	}
	if len(root.Configure) != 1 {
		t.Fatalf("%d steps", len(root.Configure))
	}
	step := root.Configure[0]
	if step.Network != pipelines.NetworkNone || step.Env["SOURCE_DATE_EPOCH"] != "1772600767" || step.Env["DPKG_RUNNING_VERSION"] != "1.22.6+b1" ||
		!strings.Contains(step.Shell, "\ndpkg dpkg amd64\n") {
		t.Errorf("step %+v", step)
	}
	if out, err := exec.Command("/bin/sh", "-n", "-c", step.Shell).CombinedOutput(); err != nil {
		t.Errorf("the script is not sound: %v: %s", err, out)
	}
	for _, local := range []string{w.req.CacheDir, w.mirror.URL} {
		if strings.Contains(step.Shell, local) {
			t.Errorf("the script names %s", local)
		}
	}
	// Each step starts and ends once.
	for _, s := range []string{"metadata", "resolve", "download", "unpack"} {
		var kinds []pipelines.EventKind
		for _, e := range w.events {
			if e.Job != "job" {
				t.Errorf("event without job: %+v", e)
			}
			if e.Step == s && e.Kind != pipelines.EventProgress {
				kinds = append(kinds, e.Kind)
			}
		}
		if !slices.Equal(kinds, []pipelines.EventKind{pipelines.EventStart, pipelines.EventDone}) {
			t.Errorf("%s: %v", s, kinds)
		}
	}
}

func TestUnchangedCostsOneRequest(t *testing.T) {
	w := newWorld(t)
	first := w.make(t)
	w.mirror.Asked()
	again := w.make(t)
	if !again.Cached || again.Digest != first.Digest || again.Layout != first.Layout {
		t.Errorf("again: %+v", again)
	}
	if asked := w.mirror.Asked(); !slices.Equal(asked, []string{"dists/testing/InRelease"}) {
		t.Errorf("asked for %v", asked)
	}
	if len(again.Configure) != 1 || again.Configure[0].Shell != first.Configure[0].Shell || !slices.Equal(again.Packages, first.Packages) {
		t.Error("the cached root is described differently")
	}
	w.req.Offline = true
	if off := w.make(t); !off.Cached || off.Digest != first.Digest || len(w.mirror.Asked()) != 0 {
		t.Errorf("offline: %+v", off)
	}
	w.req.CacheDir = t.TempDir()
	if _, err := deb.New(deb.Options{}).Make(context.Background(), w.req); err == nil {
		t.Error("offline without a cache works")
	}
}

func TestSameDigestEverywhere(t *testing.T) {
	w := newWorld(t)
	want := w.make(t)
	for _, workers := range []int{1, 8} {
		w.req.CacheDir = t.TempDir()
		got, err := deb.New(deb.Options{Workers: workers, Downloads: workers}).Make(context.Background(), w.req)
		if err != nil || got.Digest != want.Digest || got.Cached {
			t.Errorf("%d workers: %s, want %s; %v", workers, got.Digest, want.Digest, err)
		}
	}
}

func TestArchiveMovesOn(t *testing.T) {
	w := newWorld(t)
	w.req.Epoch = released.Add(-time.Minute)
	first := w.make(t)
	// A new release with the same packages is the same root, where the epoch is
	// given.
	w.suite.Date = released.Add(time.Minute)
	w.update(t)
	if again := w.make(t); !again.Cached || again.Digest != first.Digest {
		t.Errorf("same packages: %+v", again)
	}
	w.req.Epoch = time.Time{}
	if again := w.make(t); again.Digest == first.Digest || !again.Epoch.Equal(w.suite.Date) {
		t.Errorf("the epoch does not follow the release: %v", again.Epoch)
	}
	w.suite.Date = released.Add(2 * time.Minute)
	w.suite.Packages[4] = pkg(t, debtest.Deb{Name: "lib", Version: "2", Arch: "amd64", Files: []*tar.Header{debtest.File("usr/lib/lib.so", "lib 2")}})
	w.update(t)
	w.mirror.Asked()
	root := w.make(t)
	if root.Cached || files(t, root)["usr/lib/lib.so"] != "lib 2" {
		t.Error("the new version is not there")
	}
	for _, path := range w.mirror.Asked() {
		if strings.HasPrefix(path, "pool/") && !strings.HasPrefix(path, "pool/lib/") {
			t.Errorf("fetched again: %s", path)
		}
	}
}

func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	roots := make([]bootstrap.Root, 6)
	for i := range roots {
		wg.Go(func() { roots[i] = w.make(t) }) // a bootstrapper each, as processes would have
	}
	wg.Wait()
	made := 0
	for _, r := range roots {
		if !r.Cached {
			made++
		}
		if r.Digest != roots[0].Digest {
			t.Errorf("%s and %s", r.Digest, roots[0].Digest)
		}
	}
	if made != 1 {
		t.Errorf("%d of them unpacked", made)
	}
}

// What a killed run or a full disk left behind is made again.
func TestLeftovers(t *testing.T) {
	w := newWorld(t)
	root := w.make(t)
	dir := filepath.Dir(root.Layout)
	layer := layerOf(t, root)
	for name, spoil := range map[string]func() error{
		"temporary directory": func() error {
			if err := os.Rename(dir, dir+".tmp"); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir+".tmp", "junk"), []byte("x"), 0o644)
		},
		"short layer":       func() error { return os.Truncate(layer, 100) },
		"no layer":          func() error { return os.Remove(layer) },
		"no root.json":      func() error { return os.Remove(filepath.Join(dir, "root.json")) },
		"damaged root.json": func() error { return os.WriteFile(filepath.Join(dir, "root.json"), []byte("{"), 0o644) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		again := w.make(t)
		if again.Digest != root.Digest || again.Cached {
			t.Errorf("%s: %+v", name, again)
		}
		if _, err := os.Stat(dir + ".tmp"); err == nil {
			t.Errorf("%s: the temporary directory is still there", name)
		}
		if files(t, again)["usr/bin/app"] != "app" {
			t.Errorf("%s: no file", name)
		}
	}
	selections, err := filepath.Glob(filepath.Join(w.req.CacheDir, "selections", "*"))
	if err != nil || len(selections) != 1 {
		t.Fatalf("%v, %v", selections, err)
	}
	if err := os.WriteFile(selections[0], []byte("{\"used\":[7]}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again := w.make(t); again.Digest != root.Digest {
		t.Errorf("damaged selection: %+v", again)
	}
}

func TestMakeFails(t *testing.T) {
	fails := func(name string, w *world, ok func(error) bool) {
		t.Helper()
		_, err := deb.New(deb.Options{}).Make(context.Background(), w.req)
		if err == nil || !ok(err) {
			t.Errorf("%s: %v", name, err)
		}
		left, _ := filepath.Glob(filepath.Join(w.req.CacheDir, "roots", "*"))
		for _, l := range left {
			if !strings.HasSuffix(l, ".lock") {
				t.Errorf("%s leaves %s", name, filepath.Base(l))
			}
		}
		for _, s := range []string{"metadata", "resolve", "download", "unpack"} {
			started, ended := 0, 0
			for _, e := range w.events {
				switch {
				case e.Step != s:
				case e.Kind == pipelines.EventStart:
					started++
				case e.Kind == pipelines.EventDone, e.Kind == pipelines.EventFailed:
					ended++
				}
			}
			if started != ended {
				t.Errorf("%s: step %s started %d times and ended %d times", name, s, started, ended)
			}
		}
	}
	invalid := func(err error) bool {
		var i *pipelines.InvalidError
		return errors.As(err, &i)
	}
	w := newWorld(t)
	w.req.Op.Sources = nil
	fails("no sources", w, invalid)
	w = newWorld(t)
	w.req.Platform = pipelines.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}
	fails("no such architecture", w, invalid)
	w = newWorld(t)
	w.req.Op.Include = []string{"ap"}
	fails("no such package", w, func(err error) bool { return strings.Contains(err.Error(), "ap") })

	w = newWorld(t)
	evil := debtest.File("x", "evil")
	evil.Name = "../../etc/passwd"
	w.suite.Packages[4] = pkg(t, debtest.Deb{Name: "lib", Arch: "amd64", Raw: true, Files: []*tar.Header{evil}})
	w.update(t)
	fails("hostile package", w, func(err error) bool {
		var r *unpack.RefusedError
		return errors.As(err, &r) && r.Package == "lib_1.0-1_amd64"
	})
	w = newWorld(t)
	w.suite.Packages[4] = pkg(t, debtest.Deb{Name: "lib", Arch: "amd64", Files: []*tar.Header{debtest.File("usr/bin/app", "lib's")}})
	w.update(t)
	fails("conflict", w, func(err error) bool {
		var c *unpack.ConflictError
		return errors.As(err, &c) && c.Path == "/usr/bin/app"
	})
	w = newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := deb.New(deb.Options{}).Make(ctx, w.req); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPlatforms(t *testing.T) {
	w := newWorld(t)
	got, err := deb.New(deb.Options{}).Platforms(context.Background(), w.req)
	if err != nil || len(got) != 1 || got[0] != w.req.Platform {
		t.Errorf("%v, %v", got, err)
	}
	w.req.Op.Sources = nil
	if _, err := deb.New(deb.Options{}).Platforms(context.Background(), w.req); err == nil {
		t.Error("platforms of nothing")
	}
}
