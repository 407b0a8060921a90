package rpm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/rpm"
	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

var (
	amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipelines.Platform{OS: "linux", Architecture: "arm64"}
)

const suite = "9-stream/BaseOS/$basearch/os"

// base are the packages of an ordinary root.
var base = []string{"bash", "coreutils-single", "dnf", "rpm", "centos-stream-release", "glibc-minimal-langpack", "ca-certificates", "fixture"}

// events collects.
type events struct {
	mu  sync.Mutex
	all []pipelines.Event
}

func (e *events) send(ev pipelines.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// texts of the events of a kind.
func (e *events) texts(kind pipelines.EventKind) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, ev := range e.all {
		if ev.Kind == kind {
			out = append(out, ev.Text)
		}
	}
	return out
}

// distribution serves the synthetic distribution for some architectures where
// CentOS Stream 9 has its repository.
func distribution(t testing.TB, arches ...string) (*rpmrepo.Mirror, site.Site) {
	t.Helper()
	dir := t.TempDir()
	var keys []byte
	for _, arch := range arches {
		d := rpmrepo.Distribution(t, arch)
		keys = append(keys, d.Key...)
		at := filepath.Join(dir, strings.ReplaceAll(suite, "$basearch", arch))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(d.Dir, at); err != nil {
			t.Fatal(err)
		}
	}
	m := rpmrepo.Serve(t, dir)
	return m, site.Site{Mirrors: map[string][]site.Mirror{"centos-stream": {{URL: m.URL}}},
		Keyrings: map[string]site.Keyring{"centos-stream": {Keys: keys, Replace: true}}}
}

// small is a world of a few packages in a repository of their own.
type small struct {
	key    *rpmrepo.Key
	dir    string // of the repository
	mirror *rpmrepo.Mirror
	req    bootstrap.Request
	keys   func(repository, suite string) []byte
	ev     events
}

// tiny are the packages of a small world: enough to choose a root and a stage of.
func tiny(key *rpmrepo.Key) []rpmrepo.RPM {
	sh := rpmrepo.RPM{Name: "shell", Arch: "x86_64", Key: key, Provides: []string{"/bin/sh"}, Files: []rpmrepo.File{rpmrepo.Exec("/usr/bin/sh", "shell")}, Requires: []string{"filesystem"}}
	return []rpmrepo.RPM{sh,
		{Name: "filesystem", Arch: "x86_64", Key: key, Files: []rpmrepo.File{rpmrepo.Dir("/usr"), rpmrepo.Dir("/usr/bin"), rpmrepo.Symlink("/bin", "usr/bin")}},
		{Name: "rpm", Arch: "x86_64", Key: key, Requires: []string{"/bin/sh"}, Files: []rpmrepo.File{rpmrepo.Exec("/bin/rpm", "rpm")}},
		{Name: "coreutils", Arch: "x86_64", Key: key, Requires: []string{"filesystem"}, Files: []rpmrepo.File{rpmrepo.Exec("/usr/bin/ls", strings.Repeat("coreutils", 50_000))}},
		{Name: "app", Key: key, Requires: []string{"lib >= 2"}, Files: []rpmrepo.File{rpmrepo.Regular("/usr/share/app", "app")}},
		{Name: "lib", Version: "1", Key: key}, {Name: "lib", Version: "2", Key: key}, {Name: "lib", Version: "2", Arch: "i686", Key: key},
	}
}

func newSmall(t testing.TB) *small {
	t.Helper()
	w := &small{key: rpmrepo.NewKey(t), dir: filepath.Join(t.TempDir(), "mirror")}
	repo := filepath.Join(w.dir, "9-stream/BaseOS/x86_64/os")
	rpmrepo.Write(t, repo, w.key, rpmrepo.Made, tiny(w.key)...)
	w.mirror = rpmrepo.Serve(t, w.dir)
	w.dir = repo
	w.req = bootstrap.Request{Job: "job", Platform: amd64, CacheDir: t.TempDir(), Now: rpmrepo.Made.Add(time.Hour), Events: w.ev.send,
		Op: pipelines.Bootstrap{Method: "rpm", Include: []string{"app"}, Sources: []pipelines.PackageSource{{Repository: "centos-stream", Suite: suite}}},
		Site: site.Site{Mirrors: map[string][]site.Mirror{"centos-stream": {{URL: w.mirror.URL}}},
			Keyrings: map[string]site.Keyring{"centos-stream": w.key.Keyring(t)}}}
	return w
}

func (w *small) make(t testing.TB) (bootstrap.Root, error) {
	t.Helper()
	return rpm.New(rpm.Options{Grace: 300 * time.Millisecond, Keys: w.keys}).Make(t.Context(), w.req)
}

// names of a root's packages, with versions.
func names(root bootstrap.Root) string {
	var out []string
	for _, p := range root.Packages {
		out = append(out, fmt.Sprintf("%s-%s.%s", p.Name, p.Version, p.Architecture))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
