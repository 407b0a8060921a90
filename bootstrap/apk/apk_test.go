package apk_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// The same packages make the same root: on an empty cache, by another mirror, in
// another order of asking, and by two at once. Another epoch makes another.
func TestSameRoot(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	apkrepo.Repo{Key: key, Date: now.Add(-time.Hour), Pkgs: extras()}.Write(t, dir)
	m, other := apkrepo.Serve(t, dir, "127.0.0.1"), apkrepo.Serve(t, dir, "127.0.0.1")
	include := []string{"links", "docs", "new-tool"}
	r := request(t, key, []string{m.URL}, include...)
	first := makeRoot(t, r)
	if first.Cached || first.Epoch != now.Add(-time.Hour) {
		t.Errorf("cached %v, epoch %v", first.Cached, first.Epoch)
	}
	if len(first.Configure) != 0 {
		t.Errorf("steps for packages without scripts: %v", first.Configure)
	}
	m.Asked()
	again := makeRoot(t, r)
	if asked := m.Asked(); !again.Cached || again.Digest != first.Digest || len(asked) != 1 {
		t.Errorf("again: cached %v, digest %s, first %s, asked for %v", again.Cached, again.Digest, first.Digest, asked)
	}
	slices.Reverse(include)
	two := request(t, key, []string{other.URL}, include...)
	digests := make([]string, 3)
	var wg sync.WaitGroup
	for i := range digests {
		wg.Go(func() {
			root, err := apk.New(apk.Options{}).Make(context.Background(), two)
			if err != nil {
				t.Error(err)
			}
			digests[i] = root.Digest
		})
	}
	wg.Wait()
	for _, d := range digests {
		if d != first.Digest {
			t.Errorf("another order and mirror: %s, first %s", d, first.Digest)
		}
	}
	r.Epoch = now.Add(-100 * time.Hour)
	if root := makeRoot(t, r); root.Digest == first.Digest || root.Epoch != r.Epoch {
		t.Errorf("another epoch: %s, %v", root.Digest, root.Epoch)
	}
}

func TestOffline(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	tool(key, "2.0-r0", now.Add(-time.Hour)).Write(t, dir)
	m := apkrepo.Serve(t, dir, "127.0.0.1")
	r := request(t, key, []string{m.URL}, "tool")
	r.Offline = true
	if _, err := apk.New(quick(t)).Make(context.Background(), r); !errors.Is(err, fetch.ErrOffline) || !strings.Contains(hint(err), "run once with the network") {
		t.Errorf("an empty cache: %v", err)
	}
	r.Offline = false
	want := makeRoot(t, r)
	r.Offline = true
	m.Asked()
	if root := makeRoot(t, r); root.Digest != want.Digest || len(m.Asked()) > 0 {
		t.Errorf("digest %s, want %s", root.Digest, want.Digest)
	}
	// A root that is gone is made again of the packages that are kept.
	if err := os.RemoveAll(filepath.Join(r.CacheDir, "roots")); err != nil {
		t.Fatal(err)
	}
	if root := makeRoot(t, r); root.Digest != want.Digest || len(m.Asked()) > 0 {
		t.Errorf("digest %s, want %s", root.Digest, want.Digest)
	}
	// A package that was damaged in the cache is fetched again.
	packages, _ := filepath.Glob(filepath.Join(r.CacheDir, "blobs/apk/*"))
	if len(packages) != 1 {
		t.Fatalf("%v", packages)
	}
	if err := os.WriteFile(packages[0], []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(r.CacheDir, "roots"))
	if _, err := apk.New(quick(t)).Make(context.Background(), r); !errors.Is(err, fetch.ErrOffline) {
		t.Errorf("a damaged package: %v", err)
	}
	r.Offline = false
	if root := makeRoot(t, r); root.Digest != want.Digest {
		t.Errorf("digest %s, want %s", root.Digest, want.Digest)
	}
}

// A mirror that goes back in time does not take an image back.
func TestNotBack(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	tool(key, "2.0-r0", now.Add(-time.Hour)).Write(t, dir)
	m := apkrepo.Serve(t, dir, "127.0.0.1")
	r := request(t, key, []string{m.URL}, "tool")
	makeRoot(t, r)
	tool(key, "1.0-r0", now.Add(-50*time.Hour)).Write(t, dir)
	if root := makeRoot(t, r); root.Packages[0].Version != "2.0-r0" {
		t.Errorf("got %v", root.Packages)
	}
}

// Of several components the first that has a version counts; packages of other
// architectures are not seen.
func TestComponents(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	main := tool(key, "1.0-r0", now)
	main.Pkgs = append(main.Pkgs, apkrepo.Pkg{Name: "foreign", Version: "9-r0", Arch: "aarch64"}, apkrepo.Pkg{Name: "foreign", Version: "1-r0", Arch: "noarch"})
	main.Write(t, dir)
	community := tool(key, "1.1-r0", now.Add(-time.Hour))
	community.Component = "community"
	community.Write(t, dir)
	m := apkrepo.Serve(t, dir, "127.0.0.1")
	r := request(t, key, []string{m.URL}, "tool", "foreign")
	r.Op.Sources[0].Components = []string{"main", "community"}
	root := makeRoot(t, r)
	if len(root.Packages) != 2 || root.Packages[0].Version != "1-r0" || root.Packages[1].Version != "1.1-r0" {
		t.Errorf("got %v", root.Packages)
	}
	r.Op.Exclude = []string{"tool"}
	if _, err := apk.New(quick(t)).Make(context.Background(), r); err == nil || !strings.Contains(err.Error(), "package tool: ") || hint(err) == "" {
		t.Errorf("included and excluded: %v", err)
	}
}

func TestPlatforms(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	for _, arch := range []string{"x86_64", "aarch64", "armv7"} {
		r := tool(key, "1.0-r0", now)
		r.Arch = arch
		r.Write(t, dir)
	}
	m := apkrepo.Serve(t, dir, "127.0.0.1")
	r := request(t, key, []string{apkrepo.Down(t), m.URL}, "tool")
	got, err := apk.New(quick(t)).Platforms(context.Background(), r)
	want := []pipelines.Platform{amd64, arm64, {OS: "linux", Architecture: "arm", Variant: "v7"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	r.Op.Sources[0].Suite = "v3.99"
	if _, err := apk.New(quick(t)).Platforms(context.Background(), r); err == nil || !strings.Contains(err.Error(), "there is v3.24") {
		t.Errorf("got %v", err)
	}
	r.Site.Mirrors["alpine"] = []site.Mirror{{URL: apkrepo.Down(t)}}
	if _, err := apk.New(quick(t)).Platforms(context.Background(), r); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

// A build that is broken off leaves nothing that the next one trips over.
func TestBrokenOff(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	apkrepo.Repo{Key: key, Date: now.Add(-time.Hour), Pkgs: extras()}.Write(t, dir)
	m := apkrepo.Serve(t, dir, "127.0.0.1")
	r := request(t, key, []string{m.URL}, "links", "docs", "new-tool")
	want := makeRoot(t, request(t, key, []string{m.URL}, "links", "docs", "new-tool"))
	for _, kind := range []pipelines.EventKind{pipelines.EventStart, pipelines.EventProgress, pipelines.EventDone} {
		for _, step := range []string{"metadata", "download", "unpack"} {
			ctx, cancel := context.WithCancel(context.Background())
			r.Events = func(e pipelines.Event) {
				if e.Kind == kind && e.Step == step {
					cancel()
				}
			}
			_, err := apk.New(apk.Options{}).Make(ctx, r)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s of %s: %v", kind, step, err)
			}
			cancel()
		}
	}
	left, err := filepath.Glob(filepath.Join(r.CacheDir, "roots", "*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	r.Events = nil
	if root := makeRoot(t, r); root.Digest != want.Digest {
		t.Errorf("digest %s, want %s", root.Digest, want.Digest)
	}
}

var _ bootstrap.Bootstrapper = apk.New(apk.Options{})
