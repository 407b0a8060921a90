package index_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/bootstrap/apk/resolve"
	"github.com/cfbuild/cfbuild/bootstrap/apk/version"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/site"
)

func find(t testing.TB, list []*index.Package, name string) *index.Package {
	t.Helper()
	i := slices.IndexFunc(list, func(p *index.Package) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("no package %s", name)
	}
	return list[i]
}

// Alpine's own index, by the keys that come with the program.
func TestReal(t *testing.T) {
	data := apkrepo.RealIndex(t)
	keys, err := index.KeysFor("alpine", "v3.16", site.Keyring{}) // the same for every branch
	if err != nil || len(keys) != 18 {
		t.Fatalf("%v, %d keys", err, len(keys))
	}
	idx, err := index.Read(data, keys)
	if err != nil {
		t.Fatal(err)
	}
	if len(idx.Packages) < 3000 || !strings.HasPrefix(idx.Description, "v") || idx.Date.Year() < 2015 {
		t.Errorf("%d packages, %q, %v", len(idx.Packages), idx.Description, idx.Date)
	}
	p := find(t, idx.Packages, "alpine-baselayout")
	if !version.Valid(p.Version) || p.Size < 1000 || p.File() != "alpine-baselayout-"+p.Version+".apk" || p.Arch != "x86_64" {
		t.Errorf("the index has %+v", p)
	}
	// A whole system of it.
	list, err := resolve.Resolve([][]*index.Package{idx.Packages}, resolve.Options{Arch: "x86_64",
		World: []index.Dep{{Name: "alpine-base"}, {Name: "python3"}, {Name: "docs"}}})
	if err != nil || len(list) < 40 {
		t.Errorf("%v, %d packages", err, len(list))
	}
	if !slices.ContainsFunc(list, func(c resolve.Chosen) bool { return c.Name == "python3-doc" || c.Name == "busybox-doc" }) {
		t.Error("docs brought no documentation: install_if")
	}
	data[len(data)-100] ^= 1
	if _, err := index.Read(data, keys); !errors.Is(err, fetch.ErrSignature) {
		t.Errorf("a changed index: %v", err)
	}
}

func TestKeys(t *testing.T) {
	key := apkrepo.NewKey(t, "a.rsa.pub")
	ring := key.Keyring(t)
	ring.Replace = false
	if keys, err := index.KeysFor("alpine", "v3.24", ring); err != nil || len(keys) != 19 {
		t.Errorf("%v, %d keys", err, len(keys))
	}
	for _, c := range []struct {
		ring site.Keyring
		says string
	}{
		{site.Keyring{Keys: []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")}, "no RSA public key in PEM"},
		{site.Keyring{Replace: true}, "no RSA public key in PEM"},
		{site.Keyring{Keys: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, `a "CERTIFICATE", not a PUBLIC KEY`},
		{site.Keyring{Keys: []byte("-----BEGIN RSA PRIV" + "ATE KEY-----\nAAAA\n-----END RSA PRIV" + "ATE KEY-----\n")}, "it holds a private key"},
	} {
		if _, err := index.KeysFor("other", "x", c.ring); err == nil || !strings.Contains(err.Error(), "keyring of other: ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want %q", err, c.says)
		}
	}
}

func TestParse(t *testing.T) {
	key := apkrepo.NewKey(t, "a.rsa.pub")
	keys, err := index.KeysFor("test", "", key.Keyring(t))
	if err != nil {
		t.Fatal(err)
	}
	read := func(stanza string) (*index.Index, error) {
		return index.Read(apkrepo.Repo{Key: key, Stanzas: stanza}.Index(t, nil), keys)
	}
	const sum = "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	idx, err := read(sum + "P:a\nV:1.2-r3\nA:x86_64\nS:10\nI:20\nT:a: b\nt:1700000000\nk:5\nD:b>=1 !c so:x.1 d~2\np:cmd:a=1.2-r3 /bin/a\ni:b d\nz:new\n\n" +
		sum + "P:uninstallable\nV:1\nX:what is this\n\n" + sum + "P:broken\nV:1\nD:a=strange b")
	if err != nil || len(idx.Packages) != 2 {
		t.Fatalf("%v, %+v", err, idx)
	}
	a := idx.Packages[0]
	if a.Description != "a: b" || a.ProviderPriority != 5 || len(a.Depends) != 4 || a.Depends[1].String() != "!c" || a.Depends[3].Op != "~" ||
		len(a.Provides) != 2 || len(a.IfAll) != 2 || !a.BuildTime.Equal(time.Unix(1700000000, 0)) || a.File() != "a-1.2-r3.apk" || !idx.Date.Equal(a.BuildTime) {
		t.Errorf("%+v", a)
	}
	if d := idx.Packages[1].Depends; len(d) != 2 || !d[0].Broken || d[0].Provided("1", a) {
		t.Errorf("%+v", d)
	}
	if b := a.Clone(); b == a || b.String() != a.String() || b.Depends[1] != a.Depends[1] {
		t.Errorf("%+v", b)
	}
	for stanza, says := range map[string]string{
		"P:a\nV:1\n": "it has no checksum", sum + "P:a/b\nV:1\n": "is no package name", sum + "V:1\n": "is no package name",
		sum + "P:a\nV:1/2\n": "is no version", sum + "P:a\nV:1\nS:-1\n": "is no number", "C:Q1AAAA\n": "is no checksum", "nonsense\n": "is no field",
	} {
		if _, err := read(stanza); !errors.Is(err, fetch.ErrMalformed) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", stanza, err)
		}
	}
}

// Signed or not, whatever arrives: an error or an index, never a panic.
func FuzzRead(f *testing.F) {
	key := apkrepo.NewKey(f, "a.rsa.pub")
	keys, err := index.KeysFor("test", "", key.Keyring(f))
	if err != nil {
		f.Fatal(err)
	}
	repo := apkrepo.Repo{Key: key, Pkgs: []apkrepo.Pkg{{Name: "a", Depends: []string{"b"}}}}
	built := repo.Write(f, f.TempDir())
	good := repo.Index(f, built)
	f.Add(good, "P:a\n")
	f.Add(good[:len(good)/2], "C:Q1\n\nP:")
	f.Add([]byte("ADB."), "D:a<>=~1\nV:1\nP:a")
	f.Fuzz(func(t *testing.T, data []byte, stanza string) {
		index.Read(data, keys)
		index.Read(apkrepo.Repo{Key: key, Stanzas: stanza}.Index(t, nil), keys)
	})
}

func FuzzOpen(f *testing.F) {
	key := apkrepo.NewKey(f, "a.rsa.pub")
	keys, err := index.KeysFor("test", "", key.Keyring(f))
	if err != nil {
		f.Fatal(err)
	}
	repo := apkrepo.Repo{Key: key, Pkgs: []apkrepo.Pkg{{Name: "a", Files: []apkrepo.Entry{apkrepo.File("etc/x", "data")}}}}
	built := repo.Write(f, f.TempDir())
	idx, err := index.Read(repo.Index(f, built), keys)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(built[0].Data)
	f.Add(bytes.Join(built[0].Parts[1:], nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := *idx.Packages[0]
		p.Size = int64(len(data))
		p.Open(bytes.NewReader(data), p.Size)
	})
}
