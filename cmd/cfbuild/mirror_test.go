//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
)

// frozen is a mirror on loopback that keeps what it once fetched from the
// machine's own. Archives are updated several times a day; digests of two builds
// can only be compared when nothing moved between them.
type frozen struct {
	dir  string
	from map[string]string // first element of the path -> mirror
	keys sync.Map          // path -> *sync.Mutex
}

var theMirror struct {
	once      sync.Once
	url, site string
}

// frozenSite is a site file with the frozen mirror, build-only as site host is.
func frozenSite(t *testing.T) string {
	t.Helper()
	theMirror.once.Do(func() {
		st := archivetest.Machine(t)
		f := &frozen{dir: filepath.Join(state, "mirror"), from: map[string]string{}}
		if err := os.MkdirAll(f.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(f) // until the process ends: all tests share it
		theMirror.url = srv.URL
		text := "extends = \"none\"\n\n[mirrors]\n"
		for _, repo := range []string{"debian", "debian-security"} {
			f.from[repo] = strings.TrimRight(st.URLs(repo)[0], "/")
			text += fmt.Sprintf("%s = [{ url = %q, build-only = true }]\n", repo, srv.URL+"/"+repo)
		}
		theMirror.site = filepath.Join(state, "frozen.toml")
		if err := os.WriteFile(theMirror.site, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(state, 0o755); err != nil { // other users read the site file
			t.Fatal(err)
		}
	})
	return theMirror.site
}

// frozenURL is the frozen mirror of one repository.
func frozenURL(t *testing.T, repo string) string {
	t.Helper()
	frozenSite(t)
	return theMirror.url + "/" + repo
}

func (f *frozen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repo, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	base, ok := f.from[repo]
	if !ok {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256([]byte(r.URL.Path))
	file := filepath.Join(f.dir, hex.EncodeToString(sum[:]))
	lock, _ := f.keys.LoadOrStore(file, new(sync.Mutex))
	lock.(*sync.Mutex).Lock()
	err := fetchOnce(r, base+"/"+rest, file)
	lock.(*sync.Mutex).Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.NotFound(w, r)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
	default:
		b, err := os.Open(file)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer b.Close()
		st, _ := b.Stat()
		http.ServeContent(w, r, "", st.ModTime(), b)
	}
}

// fetchOnce keeps a file, or that there is none.
func fetchOnce(r *http.Request, url, file string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if _, err := os.Stat(file + ".none"); err == nil {
		return fs.ErrNotExist
	}
	resp, err := http.Get(url) // not with the request's context: others want the file too
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return atomicfile.Write(file, data, 0o644)
	case http.StatusNotFound:
		if err := os.WriteFile(file+".none", nil, 0o644); err != nil {
			return err
		}
		return fs.ErrNotExist
	}
	return fmt.Errorf("%s: %s", r.URL.Path, resp.Status)
}
