// Package rpmrepotest has a small signed rpm repository and mirrors of it that have
// faults, for tests that let real package managers meet them. Everything is made
// with rpmbuild, rpmsign, createrepo_c and gpg, and served on loopback.
package rpmrepotest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// Repo is two states of one signed repository: "old" has the package probe 1, "new"
// has 1 and 2.
type Repo struct {
	Dir string
	Key string // path of the public key, armored
	// Env is for programs that use rpm: a home of their own, in which rpm's
	// database is where the distributions have it.
	Env []string
}

// New makes the repository.
func New(t testing.TB) *Repo {
	t.Helper()
	for _, p := range []string{"rpm", "rpmbuild", "rpmsign", "createrepo_c", "gpg"} {
		testneed.Program(t, p)
	}
	w := &Repo{Dir: t.TempDir()}
	w.Key = filepath.Join(w.Dir, "key.asc")
	// gpg's agent listens on a socket in its home, whose path has to be short.
	home, err := os.MkdirTemp("", "g")
	if err != nil {
		t.Fatal(err)
	}
	w.Env = append(os.Environ(), "HOME="+home, "GNUPGHOME="+home, "LC_ALL=C.UTF-8")
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

func (w *Repo) run(t testing.TB, script string) {
	t.Helper()
	c := testneed.Alone("sh", "-ec", script)
	c.Dir, c.Env = w.Dir, w.Env
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// Mirror serves the repository at a loopback address, with a fault, and gives its
// URL: every path below it is the repository. The faults are "" (none), "refused",
// "unresolvable", "404", "503", "hanging" (takes the request and says nothing), "slow"
// (100 bytes per second), "web page" (HTML whatever is asked for), "short index" (half
// of repomd.xml), "short signature", "no signature", "truncated primary" and
// "truncated package" (the connection breaks off half way), "corrupt package" and
// "stale" (the old state, signed). seen, if any, is set when a whole package is
// fetched from it.
func (w *Repo) Mirror(t testing.TB, address, fault string, seen *atomic.Bool) string {
	t.Helper()
	switch fault {
	case "refused":
		return "http://127.0.0.1:9"
	case "unresolvable":
		return "http://" + strings.Repeat("x", 64) + ".example" // not a name: no resolver is asked
	}
	state := "new"
	if fault == "stale" {
		state = "old"
	}
	stop := make(chan struct{})
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		if strings.HasSuffix(path.Dir(r.URL.Path), "/repodata") {
			name = "repodata/" + name
		}
		is := func(s string) bool { return strings.HasSuffix(name, s) }
		data, err := os.ReadFile(filepath.Join(w.Dir, state, name))
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
		case fault == "404":
			http.NotFound(rw, r)
			return
		case fault == "503":
			http.Error(rw, "no", http.StatusServiceUnavailable)
			return
		case fault == "web page":
			rw.Header().Set("Content-Type", "text/html")
			fmt.Fprint(rw, "<!doctype html><html><body>Sign in to the guest network</body></html>")
			return
		case err != nil:
			http.NotFound(rw, r)
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
