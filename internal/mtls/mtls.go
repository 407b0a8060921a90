// Package mtls makes what a few machines need to trust each other over TLS: a small
// certificate authority, certificates of servers and of clients.
//
// Keys are ECDSA on P-256 in PKCS #8. Usages follow RFC 5280, section 4.2.1: an
// authority signs certificates and nothing below it does, a server's certificate is
// no client's and the other way round.
package mtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"strings"
	"time"
)

// Skew is how long before they were made certificates are good: clocks differ.
const Skew = time.Hour

// Pair is a certificate and its key, both PEM.
type Pair struct{ Cert, Key []byte }

// Authority signs certificates.
type Authority struct {
	// Cert is public.
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority that is good from now for that long.
func New(name string, now time.Time, good time.Duration) (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, err
	}
	t, err := template(name, now, now.Add(good))
	if err != nil {
		return Authority{}, err
	}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return Authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return Authority{cert, key}, err
}

// Load reads an authority that [Authority.PEM] wrote.
func Load(p Pair) (Authority, error) {
	block, _ := pem.Decode(p.Cert)
	if block == nil || block.Type != "CERTIFICATE" {
		return Authority{}, errors.New("authority: its certificate is not in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Authority{}, fmt.Errorf("authority: %w", err)
	}
	if block, _ = pem.Decode(p.Key); block == nil {
		return Authority{}, errors.New("authority: its key is not in PEM")
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Authority{}, fmt.Errorf("authority: key: %w", err)
	}
	key, ok := any.(*ecdsa.PrivateKey)
	switch {
	case !ok:
		return Authority{}, errors.New("authority: its key is not ECDSA")
	case !key.PublicKey.Equal(cert.PublicKey):
		return Authority{}, errors.New("authority: the key does not belong to the certificate")
	case !cert.IsCA:
		return Authority{}, errors.New("authority: its certificate is not an authority's")
	}
	return Authority{cert, key}, nil
}

// PEM writes the authority down, key included.
func (a Authority) PEM() (Pair, error) { return encode(a.Cert.Raw, a.key) }

// CertPEM is the public part, for those who are to trust what it signs.
func (a Authority) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Cert.Raw})
}

// Server makes a certificate for a server with these names and addresses.
func (a Authority) Server(hosts []string, now time.Time, good time.Duration) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("certificate: names no host")
	}
	return a.issue(hosts[0], now, good, func(t *x509.Certificate) error {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		for _, h := range hosts {
			if err := CheckHost(h); err != nil {
				return err
			}
			if ip := net.ParseIP(h); ip != nil {
				t.IPAddresses = append(t.IPAddresses, ip)
			} else {
				t.DNSNames = append(t.DNSNames, h)
			}
		}
		return nil
	})
}

// Client makes a certificate for a client, whose name is for people.
func (a Authority) Client(name string, now time.Time, good time.Duration) (Pair, error) {
	return a.issue(name, now, good, func(t *x509.Certificate) error {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		return nil
	})
}

// LateError: a certificate would outlive its authority.
type LateError struct{ Until, Authority time.Time }

func (e *LateError) Error() string {
	return fmt.Sprintf("certificate: would be good until %s, its authority only until %s", e.Until.UTC().Format(time.DateOnly), e.Authority.UTC().Format(time.DateOnly))
}

func (a Authority) issue(name string, now time.Time, good time.Duration, fill func(*x509.Certificate) error) (Pair, error) {
	until := now.Add(good)
	if until.After(a.Cert.NotAfter) {
		return Pair{}, &LateError{until, a.Cert.NotAfter}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	t, err := template(name, now, until)
	if err != nil {
		return Pair{}, err
	}
	t.KeyUsage, t.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	if err := fill(t); err != nil {
		return Pair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.Cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, err
	}
	return encode(der, key)
}

func template(name string, now, until time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	if !until.After(now) {
		return nil, errors.New("certificate: would never be good")
	}
	if len(name) > 64 { // ub-common-name of RFC 5280, appendix A.1
		name = name[:64]
	}
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-Skew), NotAfter: until}, nil
}

func encode(cert []byte, key *ecdsa.PrivateKey) (Pair, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}, nil
}

var host = regexp.MustCompile(`^(\*\.)?[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]*[a-zA-Z0-9_])?)*$`)

// CheckHost wants a DNS name, perhaps with a wildcard in front, or an IP address.
func CheckHost(s string) error {
	switch {
	case net.ParseIP(s) != nil:
		return nil
	case strings.ContainsAny(s, ":/"):
		return fmt.Errorf("host %q: give the name or the address alone, without scheme and port", s)
	case len(s) > 253 || !host.MatchString(s):
		return fmt.Errorf("host %q: is neither a host name nor an IP address", s)
	}
	return nil
}
