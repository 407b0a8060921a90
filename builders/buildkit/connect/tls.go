package connect

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files of a certificate directory (?certs=DIR), as buildctl --tlsdir has them.
const (
	CAFile   = "ca.pem"
	CertFile = "cert.pem"
	KeyFile  = "key.pem"
)

// inDir fills in from a directory what is not named.
func (t TLS) inDir(dir string) TLS {
	set := func(to *string, name string) {
		if *to == "" {
			*to = filepath.Join(dir, name)
		}
	}
	set(&t.CA, CAFile)
	set(&t.Cert, CertFile)
	set(&t.Key, KeyFile)
	return t
}

// config reads the files and checks what can be checked before anyone is asked. The
// leaf is the client's certificate, nil where there is none.
func (a Address) config(now func() time.Time) (*tls.Config, *x509.Certificate, error) {
	host, _, err := net.SplitHostPort(a.Host)
	if err != nil {
		return nil, nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, NextProtos: []string{"h2"}, Time: now}
	if a.TLS.ServerName != "" {
		c.ServerName = a.TLS.ServerName
	}
	if a.TLS.CA != "" {
		b, err := a.read("authorities", a.TLS.CA)
		if err != nil {
			return nil, nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, nil, a.files("authorities", a.TLS.CA, "holds no certificate in PEM")
		}
	}
	if a.TLS.Cert == "" {
		return c, nil, nil
	}
	cert, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	c.Certificates = []tls.Certificate{cert}
	if now != nil {
		if why := outside(cert.Leaf, now()); why != "" {
			return nil, nil, a.clientExpired(cert.Leaf, why, nil)
		}
	}
	return c, cert.Leaf, nil
}

// client reads the client's certificate and key.
func (a Address) client() (tls.Certificate, error) {
	cert, err := a.read("client certificate", a.TLS.Cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := a.read("client key", a.TLS.Key)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	switch block, _ := pem.Decode(key); {
	case err == nil:
		return pair, nil
	case block != nil && (strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != ""):
		return pair, a.files("client key", a.TLS.Key, "is encrypted")
	case strings.Contains(err.Error(), "does not match"):
		return pair, &Error{Address: a.text, Problem: KeyMismatch, Err: err,
			Reason: fmt.Sprintf("the key %s does not belong to the certificate %s", a.TLS.Key, a.TLS.Cert),
			Fix:    "use the two files that were made together"}
	case block == nil || strings.Contains(err.Error(), "key"):
		return pair, a.files("client key", a.TLS.Key, "cannot be used: "+strings.TrimPrefix(err.Error(), "tls: "))
	}
	return pair, a.files("client certificate", a.TLS.Cert, "cannot be used: "+strings.TrimPrefix(err.Error(), "tls: "))
}

func (a Address) read(what, path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		return b, nil
	}
	why := err.Error()
	var p *fs.PathError
	if errors.As(err, &p) {
		why = p.Err.Error()
	}
	return nil, a.files(what, path, why)
}

func (a Address) files(what, path, why string) error {
	return &Error{Address: a.text, Problem: Files, Reason: fmt.Sprintf("%s %s: %s", what, path, why),
		Fix: "the address names the files: ?certs=DIR with " + CAFile + ", " + CertFile + " and " + KeyFile + " (not encrypted), or ?ca=FILE&cert=FILE&key=FILE"}
}

// outside says why a certificate is not good at a time, "" where it is.
func outside(c *x509.Certificate, now time.Time) string {
	switch {
	case now.After(c.NotAfter):
		return "expired on " + date(c.NotAfter)
	case now.Before(c.NotBefore):
		return "is not good before " + date(c.NotBefore)
	}
	return ""
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func (a Address) clientExpired(leaf *x509.Certificate, why string, err error) error {
	e := &Error{Address: a.text, Problem: ClientExpired, Err: err, Fix: "make a new one, signed by the authority that the daemon trusts (cfbuild workers certs)"}
	e.Reason = fmt.Sprintf("the client's certificate %s (%s) %s", a.TLS.Cert, subject(leaf), why)
	return e
}

// subject names a certificate for people.
func subject(c *x509.Certificate) string {
	if c == nil {
		return "?"
	}
	if s := c.Subject.String(); s != "" {
		return s
	}
	return strings.Join(names(c), ", ")
}

func names(c *x509.Certificate) []string {
	out := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}
