package archivetest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto"
	"crypto/sha256"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cfbuild/cfbuild/site"
)

// Key is a throw-away key that signs test archives.
type Key struct{ Entity *openpgp.Entity }

// NewKey makes an ed25519 key, made at the time given, good for a year.
func NewKey(t testing.TB, made time.Time) *Key {
	t.Helper()
	e, err := openpgp.NewEntity("test archive", "", "archive@example.test", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }, KeyLifetimeSecs: 365 * 24 * 3600,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &Key{e}
}

// Public is the armored public key.
func (k *Key) Public(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = k.Entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Keyring trusts this key only.
func (k *Key) Keyring(t testing.TB) site.Keyring {
	return site.Keyring{Keys: k.Public(t), Replace: true}
}

// Inline clear-signs a text, with several keys when there are more.
func Inline(t testing.TB, text []byte, at time.Time, hash crypto.Hash, keys ...*Key) []byte {
	t.Helper()
	var privs []*packet.PrivateKey
	for _, k := range keys {
		privs = append(privs, k.Entity.PrivateKey)
	}
	var b bytes.Buffer
	w, err := clearsign.EncodeMulti(&b, privs, &packet.Config{Time: func() time.Time { return at }, DefaultHash: hash})
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Detached signs a text beside it, armored.
func Detached(t testing.TB, text []byte, at time.Time, k *Key) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&b, k.Entity, bytes.NewReader(text), &packet.Config{Time: func() time.Time { return at }}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Package is one package of a test archive.
type Package struct {
	Name, Version string
	// Arch defaults to "all".
	Arch string
	// Fields are further lines of the stanza, "Depends: b (>= 2)".
	Fields []string
	// Data is the file; it need not be a real package.
	Data []byte
}

// File is where the package is, relative to the mirror's base.
func (p Package) File() string {
	return path.Join("pool", p.Name, fmt.Sprintf("%s_%s_%s.deb", p.Name, p.Version, p.arch()))
}

func (p Package) arch() string {
	if p.Arch == "" {
		return "all"
	}
	return p.Arch
}

func (p Package) stanza() string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\n%sFilename: %s\nSize: %d\nSHA256: %x\nDescription: test\n more of it\n",
		p.Name, p.Version, p.arch(), strings.Join(append(p.Fields, ""), "\n"), p.File(), len(p.Data), sha256.Sum256(p.Data))
}

// Suite describes one suite of a test archive.
type Suite struct {
	// Codename is the directory below dists/ too, unless Dir is set.
	Codename, Dir string
	Date          time.Time
	// ValidUntil: zero is for ever.
	ValidUntil time.Time
	// Arch defaults to "amd64". Also are architectures that the release names and
	// has no index of, as Ubuntu's release files name those of its other archive.
	Arch string
	Also []string
	// Origin defaults to "Test", the name of the suite to "teststable"; Version is
	// left out when empty.
	Origin, Name, Version string
	// Packages are in the component "main"; Empty are further components.
	Packages []Package
	Empty    []string
	// ByHash announces and writes by-hash files.
	ByHash bool
	// Detached writes Release and Release.gpg instead of InRelease.
	Detached bool
	Key      *Key
}

// Text is the release file.
func (s Suite) text(index, packed []byte) []byte {
	arch := s.arch()
	var b bytes.Buffer
	origin := cmp.Or(s.Origin, "Test")
	fmt.Fprintf(&b, "Origin: %s\nLabel: %s\nSuite: %s\nCodename: %s\nDate: %s\n", origin, origin, cmp.Or(s.Name, "teststable"), s.Codename, s.Date.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	if !s.ValidUntil.IsZero() {
		fmt.Fprintf(&b, "Valid-Until: %s\n", s.ValidUntil.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"))
	}
	if s.Version != "" {
		fmt.Fprintf(&b, "Version: %s\n", s.Version)
	}
	if s.ByHash {
		b.WriteString("Acquire-By-Hash: yes\n")
	}
	fmt.Fprintf(&b, "No-Support-for-Architecture-all: Packages\nArchitectures: all %s\nComponents: %s\nSHA256:\n", strings.Join(append([]string{arch}, s.Also...), " "), strings.Join(append([]string{"main"}, s.Empty...), " "))
	for _, c := range s.Empty {
		fmt.Fprintf(&b, " %x 0 %s/binary-%s/Packages\n", sha256.Sum256(nil), c, arch)
	}
	fmt.Fprintf(&b, " %x %d main/binary-%s/Packages\n", sha256.Sum256(index), len(index), arch)
	fmt.Fprintf(&b, " %x %d main/binary-%s/Packages.gz\n", sha256.Sum256(packed), len(packed), arch)
	return b.Bytes()
}

func (s Suite) arch() string {
	if s.Arch == "" {
		return "amd64"
	}
	return s.Arch
}

// Write makes or updates the suite in an archive directory.
func (s Suite) Write(t testing.TB, dir string) {
	t.Helper()
	var index []byte
	for _, p := range s.Packages {
		index = append(index, p.stanza()+"\n"...)
		put(t, filepath.Join(dir, p.File()), p.Data)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(index)
	w.Close()
	dist := s.Dir
	if dist == "" {
		dist = s.Codename
	}
	base := filepath.Join(dir, "dists", dist)
	bin := filepath.Join(base, "main", "binary-"+s.arch())
	put(t, filepath.Join(bin, "Packages.gz"), z.Bytes())
	for _, c := range s.Empty {
		put(t, filepath.Join(base, c, "binary-"+s.arch(), "Packages"), nil)
	}
	if s.ByHash {
		put(t, filepath.Join(bin, "by-hash", "SHA256", fmt.Sprintf("%x", sha256.Sum256(z.Bytes()))), z.Bytes())
	}
	text := s.text(index, z.Bytes())
	if s.Detached {
		put(t, filepath.Join(base, "Release"), text)
		put(t, filepath.Join(base, "Release.gpg"), Detached(t, text, s.Date, s.Key))
		return
	}
	put(t, filepath.Join(base, "InRelease"), Inline(t, text, s.Date, crypto.SHA512, s.Key))
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
