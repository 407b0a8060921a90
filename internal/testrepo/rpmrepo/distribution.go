package rpmrepo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/cfbuild/cfbuild/internal/filelock"
)

// recipe is part of the cache's key: raise it when a distribution is made
// differently.
const recipe = 7

// Repo is a repository on disk.
type Repo struct {
	// Dir holds Packages and repodata. It is shared: link or copy it before
	// changing anything.
	Dir string
	// Arch is "x86_64" or "aarch64".
	Arch string
	// Key signs packages and metadata, and so does the Private one.
	Key     []byte
	Private *Key
	// Names are the packages, sorted.
	Names []string
}

// Clients are Debian packages to add to a distribution for what talks TLS: curl,
// wget, git, openssl, pip, node.
var Clients = []string{"curl", "wget", "git", "openssl", "python3-pip", "nodejs"}

// Distribution gives a signed, runnable distribution for an RPM architecture
// ("x86_64", "aarch64"): bash, coreutils, rpm, dnf, update-ca-trust and what they
// need, made from Debian's packages as this machine's apt finds them, and further
// ones by their Debian names. Names, scripts and files follow CentOS Stream 9
// where recipes depend on them: centos-stream-release, setup, filesystem, glibc.
// Red Hat's own update-ca-trust is not to be had; the one here is a stand-in that
// calls the same p11-kit.
//
// It is kept in the user's cache directory and made once for each set of packages.
func Distribution(t testing.TB, arch string, extra ...string) Repo {
	t.Helper()
	extra = slices.Compact(slices.Sorted(slices.Values(extra)))
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	osRelease, _ := os.ReadFile("/etc/os-release")
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %q %q %x", recipe, arch, packages, extra, sha256.Sum256(osRelease)))
	dir := filepath.Join(base, "cfbuild-test", fmt.Sprintf("rpm-%s-%x", arch, sum[:8]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := filelock.Lock(context.Background(), dir+".lock", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if r, ok := read(dir, arch); ok {
		return r
	}
	tmp := dir + ".tmp"
	for _, d := range []string{tmp, dir} {
		if err := os.RemoveAll(d); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	key := NewKey(t)
	var names []string
	convert(t, tmp, arch, extra, func(r RPM) {
		r.Key = key
		names = append(names, r.Name)
		put(t, filepath.Join(tmp, "repo/Packages", r.NEVRA()+".rpm"), r.Build(t))
	}, key)
	slices.Sort(names)
	Index(t, filepath.Join(tmp, "repo"), key, Made)
	var private bytes.Buffer
	if err := key.Entity.SerializePrivate(&private, config()); err != nil {
		t.Fatal(err)
	}
	list, _ := json.Marshal(names)
	put(t, filepath.Join(tmp, "names.json"), list)
	if err := os.WriteFile(filepath.Join(tmp, "key"), private.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		t.Fatal(err)
	}
	r, ok := read(dir, arch)
	if !ok {
		t.Fatalf("the distribution just made in %s cannot be read", dir)
	}
	return r
}

func read(dir, arch string) (Repo, bool) {
	r := Repo{Dir: filepath.Join(dir, "repo"), Arch: arch}
	list, err := os.ReadFile(filepath.Join(dir, "names.json"))
	if err != nil || json.Unmarshal(list, &r.Names) != nil {
		return r, false
	}
	key, err := os.ReadFile(filepath.Join(dir, "key"))
	if err != nil {
		return r, false
	}
	ring, err := openpgp.ReadKeyRing(bytes.NewReader(key))
	if err != nil || len(ring) != 1 {
		return r, false
	}
	r.Private = &Key{ring[0]}
	if r.Key, err = os.ReadFile(filepath.Join(dir, "repo/RPM-GPG-KEY")); err != nil {
		return r, false
	}
	return r, true
}

// Copy makes a copy of a repository to change: the packages are hard links where
// that works, the metadata are copied.
func (r Repo) Copy(t testing.TB, dir string) Repo {
	t.Helper()
	err := filepath.WalkDir(r.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(r.Dir, path)
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if filepath.Ext(path) == ".rpm" && os.Link(path, to) == nil {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Dir = dir
	return r
}
