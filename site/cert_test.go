package site

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// testNow is the clock of these tests.
var testNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

type certSpec struct {
	cn       string
	from, to string // YYYY-MM-DD; default 2020-01-01 to 2040-01-01
	server   bool   // not an authority
}

// makeCert signs a certificate with its own key, or, for a server, with that of an
// authority called "Lab Root".
func makeCert(t testing.TB, c certSpec) []byte {
	t.Helper()
	day := func(s, def string) time.Time {
		if s == "" {
			s = def
		}
		d, err := time.Parse("2006-01-02", s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: c.cn},
		NotBefore: day(c.from, "2020-01-01"), NotAfter: day(c.to, "2040-01-01"),
		IsCA: !c.server, BasicConstraintsValid: true,
	}
	parent, signer := tmpl, key
	if c.server {
		parent = &x509.Certificate{Subject: pkix.Name{CommonName: "Lab Root"}}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// writeTree writes files below a new directory and gives it.
func writeTree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeFile(path, data string) error { return os.WriteFile(path, []byte(data), 0o644) }

func itoa(n int) string { return strconv.Itoa(n) }
