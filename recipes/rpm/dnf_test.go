package rpm_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cfbuild/cfbuild/internal/rpmrepotest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/recipes/rpm"
	"github.com/cfbuild/cfbuild/site"
)

// The real dnf, with the files that an image gets, meets every fault that
// docs/site.md lists, and does what it says there.
func TestDNFSurvives(t *testing.T) {
	testneed.Program(t, "dnf")
	w := rpmrepotest.New(t)
	rows := rpmrepotest.Documented(t, "What dnf survives", 4)
	if len(rows) < 14 {
		t.Fatalf("docs/site.md lists %d faults", len(rows))
	}
	pair := rpm.Options{Distribution: rpm.CentOS, Release: 9, EPEL: rpm.EPELOff, Languages: common.NoIndexes}
	list := pair
	list.Fallback = rpm.List
	unsigned := list
	unsigned.NoMetadataSignature = true

	type trial struct {
		name    string
		o       rpm.Options
		mirrors []string
		want    string
		got     string
		said    string
	}
	var trials []*trial
	for fault, want := range rows {
		bad := func(address string) string { return w.Mirror(t, address, fault, nil) }
		good := func(address string) string { return w.Mirror(t, address, "", nil) }
		trials = append(trials,
			&trial{name: fault + ", in pairs", o: pair, mirrors: []string{bad("127.0.0.1"), good("127.0.0.2")}, want: want[0]},
			&trial{name: fault + ", in a list", o: list, mirrors: []string{bad("127.0.0.1"), good("127.0.0.2")}, want: want[1]},
			&trial{name: fault + ", other mirror", o: pair, mirrors: []string{good("127.0.0.1"), bad("127.0.0.2")}, want: want[2]})
	}
	var first, second atomic.Bool
	trials = append(trials,
		&trial{name: "both good", o: pair, mirrors: []string{w.Mirror(t, "127.0.0.1", "", &first), w.Mirror(t, "127.0.0.2", "", &second)}, want: "newest"},
		// All down is an error, never nothing to do.
		&trial{name: "all down", o: pair, mirrors: []string{"http://127.0.0.1:9", "http://127.0.0.2:9"}, want: "fails"},
		// Metadata that a mirror made itself are not signed; the option takes them.
		&trial{name: "unsigned metadata as an option", o: unsigned, mirrors: []string{w.Mirror(t, "127.0.0.1", "no signature", nil), "http://127.0.0.1:9"}, want: "newest"})

	// Those that wait for a mirror do so side by side; the others share the processors.
	var all sync.WaitGroup
	working := make(chan struct{}, runtime.NumCPU())
	for _, x := range trials {
		dir := t.TempDir()
		all.Go(func() {
			if !strings.HasPrefix(x.name, "hanging") && !strings.HasPrefix(x.name, "slow") {
				working <- struct{}{}
				defer func() { <-working }()
			}
			x.got, x.said = dnf(w, dir, x.o, x.mirrors...)
		})
	}
	all.Wait()
	for _, x := range trials {
		if x.got != x.want {
			t.Errorf("%s: dnf install: %s, want %s\n%s", x.name, x.got, x.want, x.said)
		}
		if x.got == "fails" && !strings.Contains(x.said, "Failed to download metadata for repo 'baseos") {
			t.Errorf("%s: fails for another reason:\n%s", x.name, x.said)
		}
	}
	if !first.Load() || second.Load() {
		t.Errorf("both good: package from the preferred mirror: %v, from the other: %v", first.Load(), second.Load())
	}
}

// dnf installs probe into an empty root below dir, with the files that a recipe
// writes, and gives what came of it: "newest", "old", "fails" or what went wrong with
// the trial itself, and what dnf said.
func dnf(w *rpmrepotest.Repo, dir string, o rpm.Options, mirrors ...string) (outcome, said string) {
	keys, err := os.ReadFile(w.Key)
	if err != nil {
		return err.Error(), ""
	}
	s := site.Site{Mirrors: map[string][]site.Mirror{}, Keyrings: map[string]site.Keyring{"centos-stream": {Keys: keys, Replace: true}}}
	for _, m := range mirrors {
		s.Mirrors["centos-stream"] = append(s.Mirrors["centos-stream"], site.Mirror{URL: m})
	}
	for _, f := range rpm.Files(o, s, amd64) {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err.Error(), ""
		}
		// Paths of the image become private ones, and seconds are saved: what a
		// silent mirror costs is a multiple of timeout.
		data := strings.NewReplacer("/etc/pki/", dir+"/etc/pki/", "timeout=10\n", "timeout=2\n").Replace(string(f.Data))
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			return err.Error(), ""
		}
	}
	c := testneed.Alone("dnf", "-y", "--config", filepath.Join(dir, "etc/dnf/dnf.conf"), "--installroot", filepath.Join(dir, "root"),
		"--setopt=reposdir="+filepath.Join(dir, "etc/yum.repos.d"), "--setopt=cachedir="+filepath.Join(dir, "cache"), "--setopt=logdir="+dir,
		"--releasever=9", "--noplugins", "--repo=baseos*", "install", "probe")
	c.Env = w.Env
	out, err := c.CombinedOutput()
	if err != nil {
		return "fails", string(out)
	}
	q := exec.Command("rpm", "--root", filepath.Join(dir, "root"), "-q", "--qf", "%{VERSION}", "probe")
	q.Env = w.Env
	v, err := q.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("rpm -q: %v: %s", err, v), string(out)
	}
	return map[string]string{"1": "old", "2": "newest"}[string(v)], string(out)
}
