//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"go.podman.io/image/v5/types"
)

// cached builds on an empty machine and gives what came of it, and the warnings.
func cached(t *testing.T, r builders.Request) (builders.Result, []string) {
	t.Helper()
	var mu sync.Mutex
	var warned []string
	r.Output = filepath.Join(t.TempDir(), "out")
	r.Events = func(e pipelines.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == pipelines.EventWarning {
			warned = append(warned, e.Text)
		}
	}
	res, err := opener(builders.Options{})(t).Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return res, warned
}

func localCache(dir string) []builders.CacheRef {
	return []builders.CacheRef{{Type: builders.CacheLocal, Dir: dir}}
}

// TestKilledWhileExporting kills a build ever later; at any time the cache holds
// nothing or a whole result, and the next build keeps it.
func TestKilledWhileExporting(t *testing.T) {
	g := crashImage(t)
	state, dir := stateDir(t, builders.Options{}), filepath.Join(t.TempDir(), "cache")
	job := helperJob{State: state, Graph: g, CacheTo: localCache(dir)}
	run := func(kill time.Duration) (digest string) {
		job.Out = filepath.Join(t.TempDir(), "out")
		cmd := helperCommand(t, job)
		if kill > 0 {
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(kill)
			for _, pid := range append(childrenOf(cmd.Process.Pid), cmd.Process.Pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
			_ = cmd.Wait() // it was killed
			return ""
		}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))[0]
	}
	// All steps kept, the cache gone: what follows spends its time exporting.
	want := run(0)
	begun := time.Now()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	run(0)
	whole := time.Since(begun)
	const rounds = 8
	for i := range rounds {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		run(whole * time.Duration(rounds+i+1) / (2*rounds + 1)) // the second half
		res, warned := cached(t, builders.Request{Graph: g, CacheFrom: localCache(dir)})
		if res.Digest != want && res.Ran == 0 || len(warned) > 0 {
			t.Errorf("round %d: %+v, want %s, warned of %q", i, res, want, warned)
		}
	}
	run(0)
	if res, warned := cached(t, builders.Request{Graph: g, CacheFrom: localCache(dir)}); res.Ran != 0 || res.Digest != want || len(warned) > 0 {
		t.Errorf("%+v, want %s with no step, warned of %q", res, want, warned)
	}
}

// A result holds the time stamps of one epoch and is not taken at another, also not
// after it came here.
func TestCacheKnowsTheEpoch(t *testing.T) {
	img := pipelines.From(pipelines.HostPlatform(), builderstest.Busybox(t)).Then(
		pipelines.File{Path: "/file", Data: []byte("x")}, pipelines.Remove{Paths: []string{"/srv"}})
	g, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "cache")
	early, late := time.Unix(1_600_000_000, 0), time.Unix(1_700_000_000, 0)
	cached(t, builders.Request{Graph: g, Epoch: early, CacheTo: localCache(dir)})
	want, _ := cached(t, builders.Request{Graph: g, Epoch: late})
	got, _ := cached(t, builders.Request{Graph: g, Epoch: late, CacheFrom: localCache(dir)})
	if got.Digest != want.Digest || got.Ran != want.Ran {
		t.Errorf("%+v, without a cache %+v", got, want)
	}
	// The first build unpacks what came, for the step it adds.
	more, err := img.Then(pipelines.Run{Shell: "true"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	b := opener(builders.Options{})(t)
	for i, r := range []builders.Request{{Graph: more, Epoch: early, CacheFrom: localCache(dir)}, {Graph: g, Epoch: late}} {
		r.Output = filepath.Join(t.TempDir(), "out")
		res, err := b.Build(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && res.Ran != 1 || i == 1 && res.Digest != want.Digest {
			t.Errorf("build %d: %+v, want %+v", i, res, want)
		}
	}
}

// With mode min the steps of images that are copied from are left out; and what an
// empty machine did not need stays in the cache it came from.
func TestCacheModes(t *testing.T) {
	base := pipelines.From(pipelines.HostPlatform(), builderstest.Busybox(t))
	image := func(dst string) pipelines.Graph {
		g, err := base.Then(pipelines.Copy{From: base.Then(pipelines.Run{Shell: "echo 1 > /made"}), Src: []string{"/made"}, Dst: dst}).Graph()
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	for mode, ran := range map[string]int{"max": 1, "min": 2} {
		to := localCache(filepath.Join(t.TempDir(), "cache"))
		from := localCache(to[0].Dir)
		to[0].Mode = mode
		cached(t, builders.Request{Graph: image("/a"), CacheTo: to})
		// Nothing runs, nothing of the stage comes here; it is kept on.
		if res, warned := cached(t, builders.Request{Graph: image("/a"), CacheFrom: from, CacheTo: to}); res.Ran != 0 || len(warned) > 0 || res.Exported != 1 {
			t.Errorf("%s: %+v, warned of %q", mode, res, warned)
		}
		if res, warned := cached(t, builders.Request{Graph: image("/b"), CacheFrom: from}); res.Ran != ran || len(warned) > 0 {
			t.Errorf("%s: %d steps ran, want %d, warned of %q", mode, res.Ran, ran, warned)
		}
	}
}

// The credentials of a request reach the registry and nothing else.
func TestCacheCredentials(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Token("robot", "hush-hush"))
	g, err := pipelines.From(pipelines.HostPlatform(), builderstest.Busybox(t)).Then(pipelines.Run{Shell: "env; cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; true"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	ref := []builders.CacheRef{{Type: builders.CacheRegistry, Ref: reg.Host() + "/group/cache:x"}}
	r := builders.Request{Graph: g, CacheTo: ref, Site: site.Site{Registries: []site.Registry{{Prefix: reg.Host(), Insecure: true}}}, AuthFile: "/proc/none",
		Credentials: map[string]builders.Credential{reg.Host(): {User: "robot", Password: "hush-hush"}}}
	if s := fmt.Sprintf("%v %+v %#v", r.Credentials, r.Credentials, r.Credentials); strings.Contains(s, "hush") {
		t.Errorf("printed: %s", s)
	}
	var mu sync.Mutex
	r.Output = filepath.Join(t.TempDir(), "out")
	r.Events = func(e pipelines.Event) {
		mu.Lock()
		defer mu.Unlock()
		if s := fmt.Sprint(e); strings.Contains(s, "hush") {
			t.Errorf("told: %s", s)
		}
		if e.Kind == pipelines.EventWarning {
			t.Error(e.Text)
		}
	}
	if res, err := opener(builders.Options{})(t).Build(t.Context(), r); err != nil || res.Exported != 1 {
		t.Fatalf("%+v %v", res, err)
	}
	r.CacheFrom, r.CacheTo, r.Credentials = ref, nil, nil
	if res, warned := cached(t, r); res.Ran != 1 || len(warned) != 1 || !strings.Contains(warned[0], "podman login") {
		t.Errorf("without credentials: %+v, warned of %q", res, warned)
	}
}

func TestCacheTypes(t *testing.T) {
	g := crashImage(t)
	_, err := opener(builders.Options{})(t).Build(t.Context(), builders.Request{Graph: g, Output: filepath.Join(t.TempDir(), "out"),
		CacheTo: []builders.CacheRef{{Type: builders.CacheInline}}})
	var un *builders.UnsupportedError
	if !errors.As(err, &un) || un.Hint() == "" {
		t.Errorf("an inline cache: %v", err)
	}
}

// Drivers and users that differ have the same results.
func TestCacheAcrossMachines(t *testing.T) {
	const kept = "CFBUILD_TEST_KEPT"
	g := crashImage(t)
	if dir := os.Getenv(kept); dir != "" {
		for _, driver := range []string{"", "vfs"} {
			r := builders.Request{Graph: g, Output: filepath.Join(t.TempDir(), "out"), CacheFrom: localCache(dir)}
			res, err := opener(builders.Options{Driver: driver})(t).Build(t.Context(), r)
			if err != nil || res.Ran != 0 {
				t.Errorf("%s: %+v %v", driver, res, err)
			}
			t.Logf("digest %s", res.Digest)
		}
		return
	}
	testneed.Root(t)
	dir, err := os.MkdirTemp("/var/tmp", "cfbuild-kept-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	res, _ := cached(t, builders.Request{Graph: g, CacheTo: localCache(filepath.Join(dir, "cache"))})
	out := asUser(t, "^TestCacheAcrossMachines$", kept+"="+filepath.Join(dir, "cache"))
	if n := strings.Count(out, "digest "+res.Digest); n != 2 {
		t.Errorf("%d of 2 digests are %s:\n%s", n, res.Digest, out)
	}
}

// A request's credentials are used for pulling too, at their registry and at no mirror
// of it; and an image on top of a pulled one comes from a cache as any other.
func TestPullWithRequestCredentials(t *testing.T) {
	reg := registrytest.Start(t, registrytest.Token("robot", "hush-hush"))
	var asked atomic.Int32
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		asked.Add(1)
		if user, password, _ := q.BasicAuth(); user != "" || password != "" {
			t.Errorf("the mirror was shown the credentials of %q", user)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(mirror.Close)
	sys := *insecure
	sys.DockerAuthConfig = &types.DockerAuthConfig{Username: "robot", Password: "hush-hush"}
	ref := reg.Host() + "/some/base:1"
	push(t, ref, &sys)
	g, err := pipelines.From(pipelines.HostPlatform(), pipelines.Pull{Ref: ref}).Then(pipelines.Run{Shell: "echo x > /x"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	r := builders.Request{Graph: g, AuthFile: "/proc/none", CacheTo: localCache(filepath.Join(t.TempDir(), "cache")),
		Site:        site.Site{Registries: []site.Registry{{Prefix: reg.Host(), Insecure: true, Mirrors: []site.RegistryMirror{{Location: mirror.Listener.Addr().String(), Insecure: true}}}}},
		Credentials: map[string]builders.Credential{reg.Host(): {User: "robot", Password: "hush-hush"}}}
	first, _ := cached(t, r)
	r.CacheFrom, r.CacheTo = r.CacheTo, nil
	if second, warned := cached(t, r); second.Ran != 0 || second.Digest != first.Digest || len(warned) > 0 {
		t.Errorf("%+v, first %+v, warned of %q", second, first, warned)
	}
	if asked.Load() == 0 {
		t.Error("the mirror was not asked")
	}
}
