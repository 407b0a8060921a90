// Package certtest makes certificates for tests: an authority, and what it signs, in
// directories as Docker's and BuildKit's clients read them (ca.pem, cert.pem, key.pem).
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a CA made for one test.
type Authority struct {
	Cert *x509.Certificate
	// PEM is the certificate as a file has it.
	PEM []byte
	key *ecdsa.PrivateKey
}

// Leaf is what to sign.
type Leaf struct {
	// Hosts are the names and addresses of a server.
	Hosts []string
	// Client makes a certificate for clients instead.
	Client bool
	// NotBefore and NotAfter bound its life; by default an hour ago, and a day from now.
	NotBefore, NotAfter time.Time
}

// New makes an authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{key: key(t)}
	a.Cert = template(t, "cfbuild test authority")
	a.Cert.IsCA, a.Cert.BasicConstraintsValid, a.Cert.KeyUsage = true, true, x509.KeyUsageCertSign
	var der []byte
	var err error
	if der, err = x509.CreateCertificate(rand.Reader, a.Cert, a.Cert, a.key.Public(), a.key); err != nil {
		t.Fatal(err)
	}
	if a.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// Write signs a leaf and puts ca.pem, cert.pem and key.pem into a directory.
func (a *Authority) Write(t testing.TB, dir string, l Leaf) {
	t.Helper()
	c := template(t, "cfbuild test")
	c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if l.Client {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, h := range l.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	if !l.NotBefore.IsZero() {
		c.NotBefore = l.NotBefore
	}
	if !l.NotAfter.IsZero() {
		c.NotAfter = l.NotAfter
	}
	k := key(t)
	der, err := x509.CreateCertificate(rand.Reader, c, a.Cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"ca.pem":   a.PEM,
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		mode := os.FileMode(0o644)
		if name == "key.pem" {
			mode = 0o600
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, mode); err != nil {
			t.Fatal(err)
		}
	}
}

func key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func template(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
}

// FreePort gives a port of the loopback that nobody listens on now.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
