package deb_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// comparison is one root to compare with mmdebstrap's.
type comparison struct{ release, arch, variant string }

func (c comparison) String() string { return c.release + "-" + c.arch + "-" + c.variant }

var codenames = map[string]string{"debian11": "bullseye", "debian12": "bookworm", "debian13": "trixie"}

func matrix() []comparison {
	out := []comparison{{"debian12", "amd64", "minbase"}, {"debian12", "arm64", "minbase"}}
	if os.Getenv("CFBUILD_TEST_MATRIX") != "all" {
		return out
	}
	for _, v := range []string{"essential", "apt", "standard"} {
		out = append(out, comparison{"debian12", "amd64", v})
	}
	for _, r := range []string{"debian11", "debian12", "debian13"} {
		for _, a := range []string{"amd64", "arm64"} {
			if c := (comparison{r, a, "minbase"}); !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// TestSameAsMmdebstrap compares a configured root with mmdebstrap's, from the
// same mirror: every path's type, mode, owner, link, device, extended attributes
// and content, dpkg's database included. What may differ is in
// testdata/differences, each line with its reason; a line that is not needed
// fails the test. CFBUILD_TEST_MATRIX=all compares all releases, architectures
// and variants.
func TestSameAsMmdebstrap(t *testing.T) {
	testneed.Root(t)
	testneed.Program(t, "mmdebstrap")
	st := archivetest.Machine(t)
	for _, c := range matrix() {
		t.Run(c.String(), func(t *testing.T) {
			if c.arch == "arm64" {
				if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-aarch64"); err != nil {
					testneed.Skip(t, "needs binfmt_misc for arm64 (make setup registers it)")
				}
			}
			root, dir := configured(t, c, st)
			want := filepath.Join(t.TempDir(), "want")
			mmdebstrap(t, c, st, root.Epoch, want)
			compare(t, c, scan(t, want), scan(t, dir))
		})
	}
}

// configured makes, extracts and configures our root.
func configured(t *testing.T, c comparison, st site.Site) (bootstrap.Root, string) {
	t.Helper()
	r := request(t, c, st)
	start := time.Now()
	root, err := deb.New(deb.Options{}).Make(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	made := time.Now()
	dir := filepath.Join(t.TempDir(), "got")
	extract(t, root, dir)
	extracted := time.Now()
	runSteps(t, dir, root.Configure)
	t.Logf("made in %v, extracted in %v, configured in %v", made.Sub(start).Round(time.Millisecond),
		extracted.Sub(made).Round(time.Millisecond), time.Since(extracted).Round(time.Millisecond))
	return root, dir
}

// sources of a comparison. Mirrors no longer have all of bullseye's security
// updates for arm64, though the index lists them.
func (c comparison) sources() []pipelines.PackageSource {
	out := archivetest.Debian(codenames[c.release])
	if c.release == "debian11" && c.arch == "arm64" {
		out = out[:2]
	}
	return out
}

func request(t testing.TB, c comparison, st site.Site) bootstrap.Request {
	t.Helper()
	p, err := pipelines.ParsePlatform(c.arch)
	if err != nil {
		t.Fatal(err)
	}
	var helper pipelines.Platform
	if p != pipelines.HostPlatform() {
		helper = pipelines.HostPlatform()
	}
	return bootstrap.Request{
		Helper:   helper,
		Op:       pipelines.Bootstrap{Method: "deb", Sources: c.sources(), Variant: c.variant},
		Platform: p, Site: st, CacheDir: cacheDir(t), Now: time.Now(),
	}
}

// cacheDir is CFBUILD_TEST_CACHE, to spare the mirror while developing, or fresh.
func cacheDir(t testing.TB) string {
	if dir := os.Getenv("CFBUILD_TEST_CACHE"); dir != "" {
		return dir
	}
	return t.TempDir()
}

func extract(t testing.TB, root bootstrap.Root, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, nil, "tar", "-C", dir, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpzf", layerOf(t, root))
}

// runSteps runs steps as a builder would: in the root, with /proc and a /dev, no
// network, nothing of this process's environment.
func runSteps(t testing.TB, dir string, steps []pipelines.Run) {
	t.Helper()
	for _, s := range steps {
		env := []string{"-i"}
		for _, k := range slices.Sorted(maps.Keys(s.Env)) {
			env = append(env, k+"="+s.Env[k])
		}
		binds, undo := bind(t, dir, s.Mounts)
		args := append([]string{"-m", "-n", "-p", "-f", "/bin/sh", "-e", "-c", binds + isolate, "sh", dir}, env...)
		command(t, nil, "unshare", append(args, "chroot", dir, "/bin/sh", "-e", "-c", s.Shell)...)
		undo()
	}
}

// bind gives a script that mounts files of other images, and what takes mount
// points that were not there away again.
func bind(t testing.TB, dir string, mounts []pipelines.Mount) (script string, undo func()) {
	t.Helper()
	var made []string
	tools := ""
	for _, m := range mounts {
		if tools == "" {
			g, err := m.From.Graph()
			if err != nil {
				t.Fatal(err)
			}
			l := g.Base().Op.(pipelines.Layout)
			tools = filepath.Join(t.TempDir(), "tools")
			extract(t, bootstrap.Root{Layout: l.Path, Digest: l.Digest}, tools)
		}
		target := filepath.Join(dir, m.Target)
		if _, err := os.Stat(target); err != nil {
			if err := os.Mkdir(target, 0o755); err != nil {
				t.Fatal(err)
			}
			made = append(made, target)
		}
		script += fmt.Sprintf("mount --bind %s %s\n", filepath.Join(tools, m.Src), target)
	}
	return script, func() {
		for _, p := range made {
			if err := os.Remove(p); err != nil {
				t.Error(err)
			}
		}
	}
}

const isolate = `mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
mknod -m 666 "$1/dev/null" c 1 3; mknod -m 666 "$1/dev/zero" c 1 5; mknod -m 666 "$1/dev/full" c 1 7
mknod -m 666 "$1/dev/random" c 1 8; mknod -m 666 "$1/dev/urandom" c 1 9; mknod -m 666 "$1/dev/tty" c 5 0
ln -s /proc/self/fd "$1/dev/fd"; ln -s fd/0 "$1/dev/stdin"; ln -s fd/1 "$1/dev/stdout"; ln -s fd/2 "$1/dev/stderr"
mkdir "$1/dev/pts" "$1/dev/shm"
shift
exec env "$@"`

func command(t testing.TB, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		t.Fatalf("%s: %v\n%s", name, err, bytes.Join(lines[max(0, len(lines)-40):], []byte("\n")))
	}
}

// mmdebstrap makes the reference. Where we merge /usr before unpacking it does so
// by the hook made for that; later releases bring the links themselves.
func mmdebstrap(t testing.TB, c comparison, st site.Site, epoch time.Time, dir string) {
	t.Helper()
	args := []string{"--variant=" + c.variant, "--architectures=" + c.arch, "--format=directory", "--quiet"}
	if c.release == "debian12" {
		args = append(args, "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr")
	}
	args = append(args, codenames[c.release], dir)
	for _, s := range c.sources() {
		args = append(args, fmt.Sprintf("deb [check-valid-until=no] %s %s main", st.URLs(s.Repository)[0], s.Suite))
	}
	start := time.Now()
	command(t, []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix())}, "mmdebstrap", args...)
	t.Logf("mmdebstrap took %v", time.Since(start).Round(time.Millisecond))
}

// scan describes every path below dir in one line.
func scan(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(p, &st); err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, dir)
		desc := fmt.Sprintf("%v %o %d:%d", d.Type(), st.Mode&0o7777, st.Uid, st.Gid)
		switch d.Type() {
		case 0:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(normalise(rel, data))
			desc += " " + hex.EncodeToString(sum[:])
		case fs.ModeSymlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			desc += " " + to
		case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
			desc += fmt.Sprintf(" %d", st.Rdev)
		}
		out[rel] = desc + xattrs(p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func xattrs(p string) string {
	buf := make([]byte, 64<<10)
	// Links have none of interest, and there is no call for them here.
	if st, err := os.Lstat(p); err != nil || st.Mode()&fs.ModeSymlink != 0 {
		return ""
	}
	n, err := syscall.Listxattr(p, buf)
	if err != nil || n <= 0 {
		return ""
	}
	names := strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	var out string
	for _, name := range names {
		if k, err := syscall.Getxattr(p, name, buf); err == nil {
			out += fmt.Sprintf(" %s=%x", name, buf[:k])
		}
	}
	return out
}

// normalise takes out an order that means nothing.
func normalise(path string, data []byte) []byte {
	switch path {
	case "/var/lib/apt/extended_states": // apt's order of installation
		stanzas := strings.Split(strings.TrimSpace(string(data)), "\n\n")
		slices.Sort(stanzas)
		return []byte(strings.Join(stanzas, "\n\n"))
	case "/var/lib/dpkg/triggers/File": // the order of unpacking
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		slices.Sort(lines)
		return []byte(strings.Join(lines, "\n"))
	}
	return data
}

// difference is one line of testdata/differences.
type difference struct {
	cases, glob, reason string
	used                bool
}

func differences(t testing.TB, c comparison) []*difference {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "differences"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []*difference
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) == 0 || strings.HasPrefix(w[0], "#") {
			continue
		}
		if len(w) < 3 {
			t.Fatalf("testdata/differences: %q has no reason", s.Text())
		}
		for _, pattern := range strings.Split(w[0], ",") {
			if ok, err := path.Match(pattern, c.String()); err != nil {
				t.Fatal(err)
			} else if ok {
				out = append(out, &difference{cases: w[0], glob: w[1], reason: strings.Join(w[2:], " ")})
				break
			}
		}
	}
	return out
}

func compare(t testing.TB, c comparison, want, got map[string]string) {
	t.Helper()
	allowed := differences(t, c)
	all := maps.Clone(want)
	maps.Copy(all, got)
	bad, excused := 0, 0
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if want[p] == got[p] {
			continue
		}
		found := false
		for _, d := range allowed {
			if ok, _ := path.Match(d.glob, p); ok {
				d.used, found = true, true
			}
		}
		if found {
			excused++
			continue
		}
		if bad++; bad <= 50 {
			t.Errorf("%s\n  mmdebstrap: %s\n  ours:       %s", p, want[p], got[p])
		}
	}
	t.Logf("%s: %d paths, %d differ for a reason, %d for none", c, len(all), excused, bad)
	for _, d := range allowed {
		if !d.used {
			t.Errorf("testdata/differences: %s %s is not needed (%s)", d.cases, d.glob, d.reason)
		}
	}
}
