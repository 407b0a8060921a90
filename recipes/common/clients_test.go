package common_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// named makes an authority with a subject.
func named(t *testing.T, subject pkix.Name) site.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return site.Certificate{Name: "x", PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func TestClientTrust(t *testing.T) {
	if files, env := common.ClientTrust(nil, "/bundle"); files != nil || env != nil {
		t.Errorf("for no authority: %v, %v", files, env)
	}
	cas := []site.Certificate{{Name: "a", PEM: []byte("A")}, {Name: "b", PEM: []byte("B\n")}}
	files, env := common.ClientTrust(cas, "/bundle")
	if len(files) != 1 || files[0].Path != common.SiteBundle || string(files[0].Data) != "A\nB\n" {
		t.Errorf("files %+v", files)
	}
	if len(env) != 2 || env["NODE_EXTRA_CA_CERTS"] != common.SiteBundle || env["REQUESTS_CA_BUNDLE"] != "/bundle" {
		t.Errorf("env %v", env)
	}
}

// The names are those that OpenSSL itself computes, for subjects of every kind.
func TestLinks(t *testing.T) {
	openssl := testneed.Program(t, "openssl")
	raw := func(tag int, b []byte) asn1.RawValue { return asn1.RawValue{Tag: tag, Bytes: b} }
	cn := asn1.ObjectIdentifier{2, 5, 4, 3}
	email := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
	var cas []site.Certificate
	for _, s := range []pkix.Name{
		{CommonName: "Lab Root"},
		{CommonName: "  Lab \t  ROOT  ", Country: []string{"US"}, Organization: []string{"Oak Ridge", "Second O"}},
		{CommonName: "Prüfstelle Ä", Organization: []string{"Ürün*_@"}},
		{ExtraNames: []pkix.AttributeTypeAndValue{{Type: cn, Value: raw(asn1.TagBMPString, []byte{0, 'B', 0, ' ', 0, ' ', 0x20, 0xac})}}},
		{ExtraNames: []pkix.AttributeTypeAndValue{{Type: cn, Value: raw(asn1.TagT61String, []byte{'T', 0xe4, ' ', ' ', 'X'})}, {Type: email, Value: raw(asn1.TagIA5String, []byte("CA@Example.ORG"))}}},
		{ExtraNames: []pkix.AttributeTypeAndValue{{Type: cn, Value: raw(asn1.TagNumericString, []byte("12 34"))}}},
		{},
		{CommonName: "lab root"}, // the same hash as the first
	} {
		cas = append(cas, named(t, s))
	}
	got := common.Links(append(slices.Clone(cas), site.Certificate{PEM: []byte("no certificate")}))
	for i, c := range cas {
		cmd := exec.Command(openssl, "x509", "-noout", "-subject_hash")
		cmd.Stdin = strings.NewReader(string(c.PEM))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.TrimSpace(string(out)) + ".0"
		if i == 7 {
			want = strings.TrimSpace(string(out)) + ".1"
		}
		if got[i] != want {
			t.Errorf("subject %d: %s, OpenSSL says %s", i, got[i], want)
		}
	}
	if got[8] != "" {
		t.Errorf("no certificate is called %q", got[8])
	}
	// Verification with a directory of such links.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, got[0]), cas[0].PEM, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(openssl, "verify", "-no-CAfile", "-no-CAstore", "-CApath", dir)
	cmd.Stdin = strings.NewReader(string(cas[0].PEM))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
