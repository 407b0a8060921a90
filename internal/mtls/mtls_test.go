package mtls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func leaf(t *testing.T, p Pair) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestCertificatesAreGoodForWhatTheyAreMadeFor(t *testing.T) {
	a, err := New("authority", now, 10*day)
	if err != nil {
		t.Fatal(err)
	}
	server, err := a.Server([]string{"build1.example.org", "*.pool.svc", "10.0.0.5", "fd00::5"}, now, day)
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Client("laptop", now, day)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	verify := func(c *x509.Certificate, name string, use x509.ExtKeyUsage, at time.Time) error {
		_, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use}})
		return err
	}
	s, c := leaf(t, server), leaf(t, client)
	for _, name := range []string{"build1.example.org", "x.pool.svc", "10.0.0.5", "fd00::5"} {
		if err := verify(s, name, x509.ExtKeyUsageServerAuth, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := verify(c, "", x509.ExtKeyUsageClientAuth, now.Add(-Skew)); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"another name":       verify(s, "build2.example.org", x509.ExtKeyUsageServerAuth, now),
		"server as client":   verify(s, "", x509.ExtKeyUsageClientAuth, now),
		"client as server":   verify(c, "", x509.ExtKeyUsageServerAuth, now),
		"after its time":     verify(s, "10.0.0.5", x509.ExtKeyUsageServerAuth, now.Add(day+time.Second)),
		"before its time":    verify(s, "10.0.0.5", x509.ExtKeyUsageServerAuth, now.Add(-2*Skew)),
		"the authority's CN": verify(s, "authority", x509.ExtKeyUsageServerAuth, now),
	} {
		if err == nil {
			t.Errorf("%s: is accepted", what)
		}
	}
	if s.SerialNumber.Cmp(c.SerialNumber) == 0 || bytes.Equal(server.Key, client.Key) {
		t.Error("two certificates share a number or a key")
	}
	if a.Cert.KeyUsage&x509.KeyUsageCertSign == 0 || !a.Cert.MaxPathLenZero || s.IsCA {
		t.Error("usages")
	}
}

func TestAuthorityWrittenAndRead(t *testing.T) {
	a, _ := New("one", now, 10*day)
	b, _ := New("two", now, 10*day)
	p, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(p)
	if err != nil || !again.Cert.Equal(a.Cert) {
		t.Fatalf("%v", err)
	}
	if _, err := again.Client("x", now, day); err != nil {
		t.Error(err)
	}
	other, _ := b.PEM()
	l, _ := a.Client("x", now, day)
	for what, p := range map[string]Pair{
		"another's key":        {p.Cert, other.Key},
		"no key":               {p.Cert, nil},
		"no certificate":       {p.Key, p.Key},
		"a client, not a CA":   l,
		"a certificate as key": {p.Cert, p.Cert},
		"a broken certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), p.Key},
	} {
		if _, err := Load(p); err == nil {
			t.Errorf("%s: is accepted", what)
		}
	}
}

func TestRefused(t *testing.T) {
	a, _ := New("one", now, 2*day)
	var late *LateError
	if _, err := a.Client("x", now, 3*day); !errors.As(err, &late) || !late.Authority.Equal(a.Cert.NotAfter) {
		t.Errorf("a certificate that outlives its authority: %v", err)
	}
	if _, err := a.Client("x", now, 0); err == nil {
		t.Error("a certificate that is never good")
	}
	for _, h := range []string{"", "tcp://a", "a:1234", "a b", "-a", "a..b", "*", "a.*.b", "http"} {
		_, err := a.Server([]string{h}, now, day)
		if (err == nil) != (h == "http") {
			t.Errorf("host %q: %v", h, err)
		}
	}
	if _, err := a.Server(nil, now, day); err == nil {
		t.Error("no host")
	}
}
