//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package rpm_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
	"github.com/cfbuild/cfbuild/pipelines"
)

// sameAsDnf compares a root with that of this machine's own dnf --installroot,
// from the same repository: every path's type, mode, owner, link, extended
// attributes and content. What may differ is in testdata/differences, each line with
// its reason; a line that is not needed fails the test.
func sameAsDnf(t *testing.T, got []listing.Entry) {
	t.Helper()
	testneed.Root(t)
	root := rpmrepo.Install(t, rpmrepo.Distribution(t, "x86_64"), base...)
	cmd := exec.Command(testneed.Program(t, "tar"), "-C", root, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-cf", "-", ".")
	var b bytes.Buffer
	cmd.Stdout = &b
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var tree listing.Tree
	if err := tree.Add(&b); err != nil {
		t.Fatal(err)
	}
	allowed := differences(t)
	bad, excused := 0, map[string]bool{}
	for _, line := range listing.Diff(tree.List(), got) {
		p := "/" + strings.Fields(line)[1]
		found := false
		for _, d := range allowed {
			if ok, _ := path.Match(d.glob, p); ok {
				d.used, found, excused[p] = true, true, true
			}
		}
		if found {
			continue
		}
		if bad++; bad <= 60 {
			t.Errorf("%s", line)
		}
	}
	t.Logf("%d paths, %d differ for a reason, %d lines for none", len(got), len(excused), bad)
	for _, d := range allowed {
		if !d.used {
			t.Errorf("testdata/differences: %s is not needed", d.glob)
		}
	}
}

// difference is one line of testdata/differences.
type difference struct {
	glob string
	used bool
}

func differences(t *testing.T) []*difference {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "differences"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []*difference
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		switch {
		case len(w) == 0 || strings.HasPrefix(w[0], "#"):
		case len(w) < 2:
			t.Fatalf("testdata/differences: %q has no reason", s.Text())
		default:
			out = append(out, &difference{glob: w[0]})
		}
	}
	return out
}

// BenchmarkBootstrap makes the synthetic distribution's root cold: all the way to an
// OCI layout, and with this machine's dnf to a compressed tar.
func BenchmarkBootstrap(b *testing.B) {
	testneed.Root(b)
	_, st := distribution(b, "x86_64")
	d := rpmrepo.Distribution(b, "x86_64")
	b.Run("cfbuild", func(b *testing.B) {
		for b.Loop() {
			build(b, newEngine(b, st, nil), func(p pipelines.Platform) pipelines.Image { return centos()(p) }, amd64)
		}
	})
	b.Run("dnf", func(b *testing.B) {
		for b.Loop() {
			root := rpmrepo.Install(b, d, base...)
			if out, err := exec.Command("sh", "-c", `tar -C "$0" -cf - . | gzip >/dev/null`, root).CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
		}
	})
}
