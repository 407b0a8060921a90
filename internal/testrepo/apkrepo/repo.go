package apkrepo

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the format's own
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/site"
)

// Key signs packages and indexes.
type Key struct {
	// Name of the public key's file: "test-1a2b.rsa.pub".
	Name string
	// SHA256 signs as ".SIGN.RSA256." instead of with SHA-1, as Alpine still does.
	SHA256 bool
	priv   *rsa.PrivateKey
}

// NewKey makes a throw-away RSA key.
func NewKey(t testing.TB, name string) *Key {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &Key{Name: name, priv: k}
}

// Public is the public key in PEM.
func (k *Key) Public(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&k.priv.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Keyring trusts this key only.
func (k *Key) Keyring(t testing.TB) site.Keyring {
	return site.Keyring{Keys: k.Public(t), Replace: true}
}

// Sign gives the gzip member that goes before a signed one; nothing for no key.
func (k *Key) Sign(t testing.TB, signed []byte) []byte {
	t.Helper()
	if k == nil {
		return nil
	}
	name, hash := ".SIGN.RSA.", crypto.SHA1
	d1 := sha1.Sum(signed) //nolint:gosec // see above
	digest := d1[:]
	if k.SHA256 {
		d2 := sha256.Sum256(signed)
		name, hash, digest = ".SIGN.RSA256.", crypto.SHA256, d2[:]
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, k.priv, hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	return Gzip(t, Tar(t, []Entry{File(name+k.Name, string(sig))}, false, false))
}

// Repo is one component of a branch for one architecture.
type Repo struct {
	Branch, Component, Arch string // default v3.24, main, x86_64
	Pkgs                    []Pkg
	Key                     *Key
	// Date of the index.
	Date time.Time
	// Stanzas are added to the index as they are.
	Stanzas string
}

// Dir is where the repository is below a mirror.
func (r Repo) Dir() string {
	or := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	return or(r.Branch, "v3.24") + "/" + or(r.Component, "main") + "/" + or(r.Arch, "x86_64")
}

// Index is APKINDEX.tar.gz of packages.
func (r Repo) Index(t testing.TB, built []Built) []byte {
	t.Helper()
	var text strings.Builder
	for _, b := range built {
		text.WriteString(b.Stanza + "\n")
	}
	text.WriteString(r.Stanzas)
	list := []Entry{File("DESCRIPTION", r.Branch+" test\n"), File("APKINDEX", text.String())}
	if !r.Date.IsZero() {
		for i := range list {
			list[i].ModTime = r.Date
		}
	}
	member := Gzip(t, Tar(t, list, false, true))
	return bytes.Join([][]byte{r.Key.Sign(t, member), member}, nil)
}

// Write makes the repository below a directory, which a mirror serves.
func (r Repo) Write(t testing.TB, dir string) []Built {
	t.Helper()
	at := filepath.Join(dir, r.Dir())
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	var built []Built
	for _, p := range r.Pkgs {
		if p.Arch == "" && r.Arch != "" {
			p.Arch = r.Arch
		}
		b := p.Build(t, r.Key)
		built = append(built, b)
		put(t, filepath.Join(at, b.File), b.Data)
	}
	put(t, filepath.Join(at, "APKINDEX.tar.gz"), r.Index(t, built))
	return built
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
