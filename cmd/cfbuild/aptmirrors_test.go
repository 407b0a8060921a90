//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/bootstrap/deb/debtest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// aptFaults is what can be wrong with the preferred mirror of an image whose second
// mirror is good, and what comes of it. docs/site.md has the table for people; the
// test compares the two.
var aptFaults = []struct {
	name string
	// url of the mirror in place of the server's, or how the server answers.
	url    string
	answer func(w http.ResponseWriter, r *http.Request, file []byte)
	stale  bool // the server has an older state of the archive
	// fails is the command that fails with apt before 3.0: it stays with a mirror
	// whose files are not the signed ones, and installs nothing from it.
	fails string
}{
	{name: "nothing"},
	{name: "connection refused", url: "http://127.0.0.3:9/debian"},
	{name: "name does not resolve", url: "http://mirror.invalid/debian"},
	{name: "takes the connection, says nothing", answer: func(w http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() }},
	{name: "a few bytes a second", answer: func(w http.ResponseWriter, r *http.Request, file []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		for _, b := range file {
			if _, err := w.Write([]byte{b}); err != nil || r.Context().Err() != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}},
	{name: "404 for everything", answer: func(w http.ResponseWriter, r *http.Request, _ []byte) { http.NotFound(w, r) }},
	{name: "503 for everything", answer: func(w http.ResponseWriter, r *http.Request, _ []byte) {
		http.Error(w, "overloaded", http.StatusServiceUnavailable)
	}},
	{name: "every file is cut off", answer: func(w http.ResponseWriter, r *http.Request, file []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		w.Write(file[:len(file)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}},
	{name: "an HTML page in place of every file", answer: func(w http.ResponseWriter, r *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<!DOCTYPE html><html><body>Please log in</body></html>\n"))
	}},
	{name: "half an InRelease, as if whole", answer: only("/InRelease", func(w http.ResponseWriter, file []byte) { w.Write(file[:len(file)/2]) })},
	{name: "old, and validly signed", stale: true},
	{name: "index that is not the signed one", answer: only("/Packages.gz", func(w http.ResponseWriter, file []byte) { w.Write(flipped(file)) }), fails: "update"},
	{name: "package that is not the signed one", answer: only(".deb", func(w http.ResponseWriter, file []byte) { w.Write(flipped(file)) }), fails: "install"},
	{name: "package that is missing", answer: only(".deb", func(w http.ResponseWriter, file []byte) { http.Error(w, "gone", http.StatusNotFound) })},
}

func flipped(file []byte) []byte {
	file = bytes.Clone(file)
	file[len(file)/2] ^= 1
	return file
}

// only answers for files whose path ends so, and serves the others.
func only(suffix string, answer func(w http.ResponseWriter, file []byte)) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, file []byte) {
		if strings.HasSuffix(r.URL.Path, suffix) {
			answer(w, file)
			return
		}
		w.Write(file)
	}
}

// aptMirror serves an archive on an address of its own: apt takes two mirrors on
// one address for one.
type aptMirror struct {
	url string
	mu  sync.Mutex
	dir string
	bad func(w http.ResponseWriter, r *http.Request, file []byte)
}

func (m *aptMirror) set(dir string, bad func(http.ResponseWriter, *http.Request, []byte)) {
	m.mu.Lock()
	m.dir, m.bad = dir, bad
	m.mu.Unlock()
}

func serveAPT(t *testing.T, address, dir string) *aptMirror {
	t.Helper()
	m := &aptMirror{dir: dir}
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		dir, bad := m.dir, m.bad
		m.mu.Unlock()
		file, err := os.ReadFile(filepath.Join(dir, filepath.Clean("/"+strings.TrimPrefix(r.URL.Path, "/debian"))))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if bad != nil {
			bad(w, r, file)
			return
		}
		w.Write(file)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	m.url = s.URL + "/debian"
	return m
}

// archiveOf is a signed archive with the package "hello" of one version.
func archiveOf(t *testing.T, codename, version string, made time.Time, key *archivetest.Key) string {
	t.Helper()
	dir := t.TempDir()
	hello := debtest.Deb{Name: "hello", Version: version, Files: []*tar.Header{debtest.File("usr/share/hello", version)}}
	for suite, pkgs := range map[string][]archivetest.Package{
		codename:               {{Name: "hello", Version: version, Data: hello.Build(t)}},
		codename + "-updates":  nil,
		codename + "-security": nil,
	} {
		archivetest.Suite{Codename: suite, Date: made, ValidUntil: time.Now().Add(30 * 24 * time.Hour), Key: key, Packages: pkgs}.Write(t, dir)
	}
	return dir
}

// inside runs a script in an unpacked image, with the variables of its configuration
// and the machine's network.
func inside(root, script string) (string, error) {
	c := exec.Command("unshare", "-m", "sh", "-c", `mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec timeout 100 chroot "$0" /bin/sh -c "$1"`, root, script)
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"}
	out, err := c.CombinedOutput()
	return string(out), err
}

// apt in a finished image gets over what is wrong with its preferred mirror, and is
// never talked into anything that is not signed.
func TestAPTInTheImageSurvivesBadMirrors(t *testing.T) {
	testneed.Root(t)
	testneed.Program(t, "umoci")
	releases := []struct{ target, codename string }{{"debian12", "bookworm"}, {"debian13", "trixie"}}
	if os.Getenv("CFBUILD_TEST_MATRIX") == "all" {
		releases = append(releases, struct{ target, codename string }{"debian11", "bullseye"})
	}
	for _, r := range releases {
		t.Run(r.target, func(t *testing.T) {
			w := newWorld(t, nil)
			made := time.Now().Add(-time.Hour)
			key := archivetest.NewKey(t, made.Add(-20*24*time.Hour))
			fresh := archiveOf(t, r.codename, "2.0", made, key)
			old := archiveOf(t, r.codename, "1.0", made.Add(-10*24*time.Hour), key)
			near, public := serveAPT(t, "127.0.0.1", fresh), serveAPT(t, "127.0.0.2", fresh)
			root := w.unpacked(r.target, w.siteWith(t, key, near.url, public.url))
			lists := map[string]string{}
			for _, name := range []string{"debian", "debian-security"} {
				b, err := os.ReadFile(filepath.Join(root, "etc/apt/mirrors", name+".list"))
				if err != nil {
					t.Fatal(err)
				}
				lists[name] = string(b)
			}
			for _, f := range aptFaults {
				near.set(fresh, f.answer)
				if f.stale {
					near.set(old, nil)
				}
				for name, text := range lists {
					if f.url != "" {
						text = strings.ReplaceAll(text, near.url, f.url)
					}
					if err := os.WriteFile(filepath.Join(root, "etc/apt/mirrors", name+".list"), []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				fails := f.fails
				if r.target == "debian13" {
					fails = ""
				}
				checkAPT(t, root, f.name, fails)
			}
			// With both down it says so.
			public.set(t.TempDir(), nil)
			near.set(t.TempDir(), nil)
			if out, err := inside(root, "apt-get update --error-on=any"); err == nil {
				t.Errorf("apt-get update succeeds without a mirror:\n%s", out)
			}
		})
	}
}

// checkAPT updates and installs in the image, and leaves it as it was. fails is the
// one of the two that has to fail, if any.
func checkAPT(t *testing.T, root, fault, fails string) {
	t.Helper()
	start := time.Now()
	out, err := inside(root, "apt-get update")
	updated := time.Since(start)
	if fails != "" && !preferred(t, root) {
		fails = "" // on a machine this busy the mirror did not answer in time
	}
	if (err != nil) != (fails == "update") {
		t.Errorf("%s: apt-get update: %v, want it to fail: %v\n%s", fault, err, fails == "update", out)
	}
	if err == nil {
		out, err = inside(root, "DEBIAN_FRONTEND=noninteractive apt-get install -y hello && echo got $(cat /usr/share/hello)")
		if got := err == nil && strings.HasSuffix(out, "got 2.0\n"); got != (fails == "") {
			t.Errorf("%s: apt-get install: %v, want it to fail: %v\n%s", fault, err, fails == "install", out)
		}
	}
	t.Logf("%s: update took %.1f s", fault, updated.Seconds())
	if out, err := inside(root, "dpkg --purge hello 2>&1; rm -rf /var/lib/apt/lists/*; ls -A /tmp"); err != nil || strings.Contains(out, "tmp.") {
		t.Errorf("%s: %v, left: %s", fault, err, out)
	}
}

// preferred says whether the first mirror of the image's lists is tried first.
func preferred(t *testing.T, root string) bool {
	t.Helper()
	lists, _ := filepath.Glob(filepath.Join(root, "etc/apt/mirrors/*.list"))
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(string(b), "\n"); !strings.HasSuffix(first, "priority:1") {
			return false
		}
	}
	return len(lists) > 0
}

// docs/site.md has the same table.
func TestDocumentedFaultsOfMirrors(t *testing.T) {
	b, err := os.ReadFile("../../docs/site.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range aptFaults[1:] {
		before := "next mirror"
		if f.fails != "" {
			before = "`apt-get " + f.fails + "` fails"
		}
		if line := fmt.Sprintf("| %s | %s | next mirror |\n", f.name, before); !strings.Contains(string(b), line) {
			t.Errorf("docs/site.md lacks the line %s", line)
		}
	}
}

// siteWith is a site file with the frozen mirror for building and others for images.
func (w *world) siteWith(t *testing.T, key *archivetest.Key, urls ...string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, "archive.asc"), key.Public(t), 0o644); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("extends = \"none\"\n[mirrors]\n")
	for _, repo := range []string{"debian", "debian-security"} {
		fmt.Fprintf(&b, "%s = [{ url = %q, build-only = true }", repo, frozenURL(t, repo))
		for _, u := range urls {
			fmt.Fprintf(&b, ", { url = %q, image-only = true }", u)
		}
		b.WriteString("]\n")
	}
	b.WriteString("[keyrings]\ndebian = \"archive.asc\"\ndebian-security = \"archive.asc\"\n")
	file := filepath.Join(w.dir, "mirrors.toml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// unpacked builds a target and unpacks its root.
func (w *world) unpacked(target, site string) string {
	w.t.Helper()
	w.run(target, "--site", site)
	flat := filepath.Join(w.dir, "flat-"+target)
	tool(w.t, "skopeo", "copy", "--quiet", "oci:"+filepath.Join(w.dir, "out", target), "oci:"+flat+":x")
	bundle := filepath.Join(w.dir, "bundle-"+target)
	tool(w.t, "umoci", "unpack", "--image", flat+":x", bundle)
	return filepath.Join(bundle, "rootfs")
}
