package rpm_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/recipes/rpm"
	"github.com/cfbuild/cfbuild/site"
)

// world is two states of one signed repository, made with rpmbuild, rpmsign and
// createrepo_c: "old" has the package probe 1, "new" has 1 and 2.
type world struct {
	dir string
	key string // path of the public key, armored
	env []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	for _, p := range []string{"dnf", "rpmbuild", "rpmsign", "createrepo_c", "gpg"} {
		testneed.Program(t, p)
	}
	w := &world{dir: t.TempDir()}
	w.key = filepath.Join(w.dir, "key.asc")
	// gpg's agent listens on a socket in its home, whose path has to be short.
	home, err := os.MkdirTemp("", "g")
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), "HOME="+home, "GNUPGHOME="+home, "LC_ALL=C.UTF-8")
	t.Cleanup(func() {
		w.run(t, "gpgconf --kill all")
		os.RemoveAll(home)
	})
	// Debian's rpm keeps its database below the home directory.
	if err := os.WriteFile(filepath.Join(home, ".rpmmacros"), []byte("%_dbpath /var/lib/rpm\n%_gpg_name probe\n%__gpg /usr/bin/gpg\n%_binary_payload w1.gzdio\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.run(t, "gpg --batch --quiet --passphrase '' --quick-generate-key probe@example.org rsa2048 sign never; gpg --armor --export > key.asc")
	w.run(t, `
mkdir -p old new
for v in 1 2; do
cat > probe.spec <<EOF
Name: probe
Version: $v
Release: 1
Summary: probe
License: MIT
BuildArch: noarch
%description
probe
%install
mkdir -p %{buildroot}/opt
head -c 200000 /dev/urandom > %{buildroot}/opt/probe
%files
/opt/probe
EOF
rpmbuild -bb --quiet --define "_topdir $PWD/b" probe.spec
done
rpmsign --addsign b/RPMS/noarch/*.rpm > /dev/null
cp b/RPMS/noarch/probe-1-*.rpm old
cp b/RPMS/noarch/*.rpm new
for d in old new; do
createrepo_c --quiet --no-database $d
gpg --batch --armor --detach-sign $d/repodata/repomd.xml
done`)
	return w
}

func (w *world) run(t *testing.T, script string) {
	t.Helper()
	c := exec.Command("sh", "-ec", script)
	c.Dir, c.Env = w.dir, w.env
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// mirror serves one state of the repository at an address of its own, with a fault.
// seen, if any, is set when a package is fetched from it.
func (w *world) mirror(t *testing.T, address, fault string, seen *atomic.Bool) string {
	t.Helper()
	switch fault {
	case "refused":
		return "http://127.0.0.1:9"
	case "unresolvable":
		return "http://no..such.example" // not a name: no resolver is asked
	}
	state := "new"
	if fault == "stale" {
		state = "old"
	}
	stop := make(chan struct{})
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		// Every suite below the mirror is the one repository.
		_, name, _ := strings.Cut(r.URL.Path, "/os/")
		is := func(s string) bool { return strings.HasSuffix(name, s) }
		data, err := os.ReadFile(filepath.Join(w.dir, state, filepath.Clean("/"+name)))
		switch {
		case fault == "hanging":
			select {
			case <-stop:
			case <-r.Context().Done():
			}
			return
		case fault == "slow" && err == nil:
			rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
			for len(data) > 0 {
				n := min(20, len(data))
				if _, err := rw.Write(data[:n]); err != nil {
					return
				}
				rw.(http.Flusher).Flush()
				data = data[n:]
				select {
				case <-stop:
					return
				case <-r.Context().Done():
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
			return
		case fault == "404", err != nil:
			http.NotFound(rw, r)
			return
		case fault == "503":
			http.Error(rw, "no", http.StatusServiceUnavailable)
			return
		case fault == "web page":
			rw.Header().Set("Content-Type", "text/html")
			fmt.Fprint(rw, "<!doctype html><html><body>Sign in to the guest network</body></html>")
			return
		case fault == "short index" && is("repomd.xml"), fault == "short signature" && is("repomd.xml.asc"):
			rw.Write(data[:len(data)/2])
			return
		case fault == "no signature" && is("repomd.xml.asc"):
			http.NotFound(rw, r)
			return
		case fault == "truncated primary" && strings.Contains(name, "primary"), fault == "truncated package" && is(".rpm"):
			rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
			rw.Write(data[:len(data)/2])
			panic(http.ErrAbortHandler)
		case fault == "corrupt package" && is(".rpm"):
			data[len(data)-100] ^= 0xff
			rw.Write(data)
			return
		}
		if seen != nil && is(".rpm") {
			seen.Store(true)
		}
		rw.Write(data)
	})
	s := httptest.NewUnstartedServer(handler)
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener.Close()
	s.Listener = l
	s.Config.ErrorLog = nil
	s.Start()
	t.Cleanup(func() { close(stop); s.CloseClientConnections(); s.Close() })
	return "http://" + l.Addr().String()
}

// dnf installs probe into an empty root below dir, with the files that a recipe
// writes, and gives what came of it: "newest", "old", "fails" or what went wrong with
// the trial itself, and what dnf said.
func (w *world) dnf(dir string, o rpm.Options, mirrors ...string) (outcome, said string) {
	keys, err := os.ReadFile(w.key)
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
	c := exec.Command("dnf", "-y", "--config", filepath.Join(dir, "etc/dnf/dnf.conf"), "--installroot", filepath.Join(dir, "root"),
		"--setopt=reposdir="+filepath.Join(dir, "etc/yum.repos.d"), "--setopt=cachedir="+filepath.Join(dir, "cache"), "--setopt=logdir="+dir,
		"--releasever=9", "--noplugins", "--repo=baseos*", "install", "probe")
	c.Env = w.env
	out, err := c.CombinedOutput()
	if err != nil {
		return "fails", string(out)
	}
	q := exec.Command("rpm", "--root", filepath.Join(dir, "root"), "-q", "--qf", "%{VERSION}", "probe")
	q.Env = w.env
	v, err := q.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("rpm -q: %v: %s", err, v), string(out)
	}
	return map[string]string{"1": "old", "2": "newest"}[string(v)], string(out)
}
