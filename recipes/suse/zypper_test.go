package suse_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/internal/rpmrepotest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/recipes/suse"
	"github.com/cfbuild/cfbuild/site"
)

// The real zypper, with the files that an image gets, meets every fault that
// docs/site.md lists, and does what it says there.
func TestZypperSurvives(t *testing.T) {
	testneed.Program(t, "zypper")
	w := rpmrepotest.New(t)
	rows := rpmrepotest.Documented(t, "What zypper survives", 4)
	if len(rows) < 12 {
		t.Fatalf("docs/site.md lists %d faults", len(rows))
	}
	pair := suse.Options{Distribution: suse.BCI, Languages: common.NoIndexes}
	list := pair
	list.Fallback = suse.List
	type trial struct {
		name    string
		o       suse.Options
		mirrors []string
		want    string
		got     string
		said    string
	}
	var trials []*trial
	for fault, want := range rows {
		if fault == "hanging" || fault == "slow" {
			continue // minutes
		}
		bad := func(address string) string { return w.Mirror(t, address, fault, nil) }
		good := func(address string) string { return w.Mirror(t, address, "", nil) }
		trials = append(trials,
			&trial{name: fault + ", in pairs", o: pair, mirrors: []string{bad("127.0.0.1"), good("127.0.0.2")}, want: want[0]},
			&trial{name: fault + ", in a list", o: list, mirrors: []string{bad("127.0.0.1"), good("127.0.0.2")}, want: want[1]},
			&trial{name: fault + ", other mirror", o: pair, mirrors: []string{good("127.0.0.1"), bad("127.0.0.2")}, want: want[2]})
	}
	trials = append(trials,
		&trial{name: "both good", o: pair, mirrors: []string{w.Mirror(t, "127.0.0.1", "", nil), w.Mirror(t, "127.0.0.2", "", nil)}, want: "newest"},
		// All down is an error, never nothing to do.
		&trial{name: "all down", o: pair, mirrors: []string{"http://127.0.0.1:9", "http://127.0.0.2:9"}, want: "fails"})

	var all sync.WaitGroup
	working := make(chan struct{}, runtime.NumCPU())
	for _, x := range trials {
		dir := t.TempDir()
		all.Go(func() {
			working <- struct{}{}
			defer func() { <-working }()
			x.got, x.said = zypper(w, dir, x.o, x.mirrors...)
		})
	}
	all.Wait()
	for _, x := range trials {
		if x.got != x.want {
			t.Errorf("%s: zypper install: %s, want %s\n%s", x.name, x.got, x.want, x.said)
		}
	}
}

// zypper installs probe into an empty root below dir, with the files that a recipe
// writes, and gives what came of it: "newest", "old", "fails" or what went wrong with
// the trial itself, and what zypper said.
func zypper(w *rpmrepotest.Repo, dir string, o suse.Options, mirrors ...string) (outcome, said string) {
	keys, err := os.ReadFile(w.Key)
	if err != nil {
		return err.Error(), ""
	}
	s := site.Site{Mirrors: map[string][]site.Mirror{}, Keyrings: map[string]site.Keyring{"suse-bci": {Keys: keys, Replace: true}}}
	for _, m := range mirrors {
		s.Mirrors["suse-bci"] = append(s.Mirrors["suse-bci"], site.Mirror{URL: m})
	}
	root := filepath.Join(dir, "root")
	for _, f := range suse.Files(o, s) {
		path := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err.Error(), ""
		}
		// Paths of the image become private ones.
		data := strings.ReplaceAll(string(f.Data), "file:///etc/", "file://"+root+"/etc/")
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			return err.Error(), ""
		}
	}
	run := func(name string, args ...string) (string, error) {
		c := testneed.Alone(name, args...)
		c.Env = append(w.Env, "ZYPP_CONF="+filepath.Join(root, "etc/zypp/zypp.conf"), "ZYPP_LOGFILE="+filepath.Join(dir, "log"))
		out, err := c.CombinedOutput()
		return string(out), err
	}
	// As an image has it: the keys are known, none is taken from a mirror.
	if out, err := run("rpm", "--root", root, "--import", filepath.Join(root, "etc/zypp/keys/suse-bci.asc")); err != nil {
		return fmt.Sprintf("rpm --import: %v: %s", err, out), ""
	}
	if out, err := run("zypper", "--root", root, "--releasever", "15.7", "--non-interactive", "install", "probe"); err != nil {
		return "fails", out
	}
	v, err := run("rpm", "--root", root, "-q", "--qf", "%{VERSION}", "probe")
	if err != nil {
		return fmt.Sprintf("rpm -q: %v: %s", err, v), ""
	}
	return map[string]string{"1": "old", "2": "newest"}[v], ""
}
