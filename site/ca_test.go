package site

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// A private key in any form is refused, wherever it is given, and no byte of it is
// repeated: not in errors, not in hints, not in what is shown.
func TestPrivateKeysAreRefused(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(ec)
	sec1, _ := x509.MarshalECPrivateKey(ec)
	pkcs1 := x509.MarshalPKCS1PrivateKey(rs)
	secret := func(der []byte) []string { // any part of it
		b := base64.StdEncoding.EncodeToString(der)
		return []string{b[8:40], b[len(b)-32 : len(b)-8]}
	}
	block := func(kind string, der []byte, headers map[string]string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: der}))
	}
	encrypted, _ := asn1.Marshal(struct {
		A struct{ OID asn1.ObjectIdentifier }
		D []byte
	}{struct{ OID asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}}, pkcs8})
	good := string(makeCert(t, certSpec{cn: "Lab Root"}))
	for _, c := range []struct {
		name, text string
		der        []byte
		says       string
	}{
		{"PKCS#8", block("PRIVATE KEY", pkcs8, nil), pkcs8, "holds a private key (line 1)"},
		{"after a certificate", good + block("EC PRIVATE KEY", sec1, nil), sec1, "holds a private key (line "},
		{"before a certificate", block("RSA PRIVATE KEY", pkcs1, nil) + good, pkcs1, "holds a private key (line 1)"},
		{"after a broken certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + block("PRIVATE KEY", pkcs8, nil), pkcs8, "holds a private key (line 4)"},
		{"encrypted", block("ENCRYPTED PRIVATE KEY", encrypted, nil), encrypted, "holds an encrypted private key (line 1)"},
		{"encrypted, old form", block("RSA PRIVATE KEY", pkcs1, map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}), pkcs1, "holds an encrypted private key (line 1)"},
		{"OpenSSH", block("OPENSSH PRIVATE KEY", pkcs8, nil), pkcs8, "holds a private key"},
		{"cut off", strings.TrimSuffix(block("PRIVATE KEY", pkcs8, nil), "-----END PRIVATE KEY-----\n"), pkcs8, "holds a private key"},
		{"on one line", strings.ReplaceAll(block("PRIVATE KEY", pkcs8, nil), "\n", ""), pkcs8, "holds a private key"},
		{"with a certificate on one line", strings.ReplaceAll(good+block("PRIVATE KEY", pkcs8, nil), "\n", ""), pkcs8, "is damaged"},
		{"DER", string(pkcs8), pkcs8, "is a private key in DER form"},
		{"DER, PKCS#1", string(pkcs1), pkcs1, "is a private key in DER form"},
		{"DER, SEC 1", string(sec1), sec1, "is a private key in DER form"},
		{"DER, encrypted", string(encrypted), encrypted, "is a private key in DER form"},
		{"bare base64", base64.StdEncoding.EncodeToString(pkcs8), pkcs8, "holds no PEM certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := writeTree(t, map[string]string{"a.pem": good, "ca/b.pem": c.text})
			o := LoadOptions{Dir: dir, Now: testNow, Getenv: func(n string) string {
				return map[string]string{"TEXT": c.text, "FILE": dir + "/ca/b.pem"}[n]
			}}
			entries := []string{"ca/b.pem", "ca", "ca/*.pem", "$FILE", "$TEXT"}
			if strings.Contains(c.text, "-----BEGIN") {
				entries = append(entries, c.text)
			}
			for _, entry := range entries {
				_, err := Site{}.WithCAs(o, entry)
				var bad *InvalidError
				if !errors.As(err, &bad) {
					t.Fatalf("%.20q: %v", entry, err)
				}
				if entry != "$TEXT" && !strings.Contains(err.Error(), c.says) {
					t.Errorf("%.20q: %v", entry, err)
				}
				told := fmt.Sprintf("%v %s %+v", err, bad.Hint(), bad)
				for _, part := range secret(c.der) {
					if strings.Contains(told, part) {
						t.Errorf("%.20q: the key is repeated: %s", entry, told)
					}
				}
			}
			// In a site file, where an inline entry is part of the document.
			if err := writeFile(dir+"/site.toml", "ca = ['a.pem', '''\n"+strings.ToValidUTF8(c.text, "")+"''']\n"); err != nil {
				t.Fatal(err)
			}
			_, err := Load("./site.toml", o)
			if err == nil {
				t.Fatal("taken")
			}
			for _, part := range secret(c.der) {
				if strings.Contains(err.Error(), part) && strings.Contains(c.text, "BEGIN") {
					t.Errorf("the key is repeated: %v", err)
				}
			}
			s := Site{CAs: []Certificate{{Name: "a", PEM: []byte(c.text)}}}
			if err := s.Check(testNow); err == nil {
				t.Error("Check takes it")
			}
			var b bytes.Buffer
			if err := s.Show(&b); err != nil {
				t.Fatal(err)
			}
			j, _ := json.Marshal(s.Describe())
			for _, part := range secret(c.der) {
				if strings.Contains(b.String()+string(j), part) {
					t.Errorf("the key is shown: %s", b.String())
				}
			}
		})
	}
}

// Other things people have lying beside certificates.
func TestNotCertificates(t *testing.T) {
	p12, _ := asn1.Marshal(struct {
		Version int
		Auth    struct{ OID asn1.ObjectIdentifier }
	}{3, struct{ OID asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}}})
	good := makeCert(t, certSpec{cn: "Lab Root"})
	der, _ := pem.Decode(good)
	for _, c := range []struct{ name, text, says string }{
		{"PKCS#12", string(p12), "is a PKCS#12 store, which is encrypted and may hold a private key"},
		{"JKS", "\xfe\xed\xfe\xed\x00\x00\x00\x02", "is a Java keystore"},
		{"encrypted certificate", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES,00"}, Bytes: der.Bytes})),
			"certificate 1 of 1 (line 1) is encrypted"},
		{"PKCS#7", "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n", "holds a PKCS#7 bundle (line 1)"},
		{"leaf", string(makeCert(t, certSpec{cn: "www", server: true})), "is not a certificate authority"},
		{"expired", string(makeCert(t, certSpec{cn: "Old", to: "2025-01-01"})), "expired on 2025-01-01"},
		{"empty", "", "holds no PEM certificate"},
	} {
		dir := writeTree(t, map[string]string{"x.pem": c.text})
		_, err := Site{}.WithCAs(LoadOptions{Dir: dir, Now: testNow}, "x.pem")
		var bad *InvalidError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.says) || c.name != "empty" && bad.Fix == "" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestByteOrderMark(t *testing.T) {
	dir := writeTree(t, map[string]string{"x.pem": "\xef\xbb\xbf" + string(makeCert(t, certSpec{cn: "Lab Root"}))})
	if s, err := (Site{}).WithCAs(LoadOptions{Dir: dir, Now: testNow}, "x.pem"); err != nil || len(s.CAs) != 1 {
		t.Errorf("%v %v", err, s.CAs)
	}
}

// Secret OpenPGP keys are refused as keyrings.
func TestSecretKeyrings(t *testing.T) {
	e, err := openpgp.NewEntity("lab", "", "lab@example.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	var public, secret, armored bytes.Buffer
	if err := errors.Join(e.Serialize(&public), e.SerializePrivate(&secret, nil)); err != nil {
		t.Fatal(err)
	}
	w, _ := armor.Encode(&armored, openpgp.PrivateKeyType, nil)
	w.Write(secret.Bytes())
	w.Close()
	for _, c := range []struct {
		name, data string
		good       bool
	}{
		{"public", public.String(), true}, {"secret", secret.String(), false}, {"both", public.String() + secret.String(), false},
		{"armored", armored.String(), false},
		{"alpine", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", true},
		{"its private half", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", false},
	} {
		dir := writeTree(t, map[string]string{"k.gpg": c.data, "site.toml": "[keyrings]\nalpine = 'k.gpg'\n"})
		_, err := Load("./site.toml", LoadOptions{Dir: dir})
		if (err == nil) != c.good || err != nil && !strings.Contains(err.Error(), "holds a private key") {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := (Site{Keyrings: map[string]Keyring{"alpine": {Keys: []byte(c.data)}}}).Check(testNow); (err == nil) != c.good {
			t.Errorf("%s, made in code: %v", c.name, err)
		}
	}
}

// ca-mode is for all authorities of a site, mode for one entry.
func TestModes(t *testing.T) {
	dir := writeTree(t, map[string]string{
		"a.pem": string(makeCert(t, certSpec{cn: "A"})), "b.pem": string(makeCert(t, certSpec{cn: "B"})), "c.pem": string(makeCert(t, certSpec{cn: "C"})),
		"root/usr/local/share/ca-certificates/machine.crt": string(makeCert(t, certSpec{cn: "Machine"})),
		"root/usr/local/share/ca-certificates/old.crt":     string(makeCert(t, certSpec{cn: "Old", to: "2025-01-01"})),
	})
	for _, c := range []struct {
		name, toml string
		modes      string // of the authorities in order
		err        string
	}{
		{name: "default", toml: "ca = ['a.pem', {file = 'b.pem'}]", modes: "a both, b both"},
		{name: "old key", toml: "ca = [{file = 'a.pem', build-only = true}, {file = 'b.pem', build-only = false}]", modes: "a build-only, b both"},
		{name: "modes", toml: "ca = [{file = 'a.pem', mode = 'baked'}, {file = 'b.pem', mode = 'build-only'}, {file = 'c.pem', mode = 'both'}]", modes: "a baked, b build-only, c both"},
		{name: "for the site", toml: "ca-mode = 'baked'\nca = ['a.pem', {file = 'b.pem', mode = 'both'}]", modes: "a baked, b both"},
		{name: "the same one twice has both uses", toml: "ca = [{file = 'a.pem', mode = 'baked'}, {file = 'a.pem', mode = 'build-only'}]", modes: "a both"},
		{name: "the machine's", toml: "ca = 'host'", modes: "machine both"},
		{name: "the machine's, build only", toml: "ca = ['a.pem', {file = 'host', mode = 'build-only'}]", modes: "a both, machine build-only"},
		{name: "extends host", toml: "extends = 'host'", modes: "machine build-only"},
		{name: "extends host, for images", toml: "extends = 'host'\nca-mode = 'both'", modes: "machine both"},
		{name: "extends host, and the machine's", toml: "extends = 'host'\nca = 'host'", modes: "machine both"},
		{name: "slip", toml: "ca-mode = 'bake'", err: `./site.toml:1: ca-mode: "bake" is not a mode`},
		{name: "type", toml: "ca-mode = true", err: `./site.toml:1: ca-mode: is a boolean, not a string`},
		{name: "both ways", toml: "ca = [{file = 'a.pem', mode = 'both', build-only = true}]", err: `./site.toml:1: ca[0].build-only: stands beside mode`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := writeFile(dir+"/site.toml", c.toml+"\n"); err != nil {
				t.Fatal(err)
			}
			s, err := Load("./site.toml", LoadOptions{Dir: dir, Now: testNow, Root: dir + "/root"})
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("got %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var modes []string
			for _, ca := range s.CAs {
				modes = append(modes, ca.Name+" "+ca.Mode())
			}
			if got := strings.Join(modes, ", "); got != c.modes {
				t.Errorf("got %s, want %s", got, c.modes)
			}
			if strings.Contains(c.toml, "host") && !strings.Contains(fmt.Sprint(s.Notes), "expired on 2025-01-01") {
				t.Errorf("notes %q", s.Notes)
			}
			var built, baked []Certificate
			for _, ca := range s.CAs {
				if ca.Mode() != "baked" {
					built = append(built, ca)
				}
				if ca.Mode() != "build-only" {
					baked = append(baked, ca)
				}
			}
			if !reflect.DeepEqual(s.BuildCAs(), built) || !reflect.DeepEqual(s.ImageCAs(), baked) || !bytes.Equal(s.Bundle(), Bundle(built)) {
				t.Errorf("BuildCAs %v, ImageCAs %v", s.BuildCAs(), s.ImageCAs())
			}
		})
	}
	s, err := Public().WithCAs(LoadOptions{Now: testNow, Root: dir + "/root"}, "host")
	if err != nil || len(s.CAs) != 1 || s.CAs[0].Mode() != "both" {
		t.Errorf("%v %+v", err, s.CAs)
	}
	if s, err := Public().WithCAs(LoadOptions{Now: testNow, Root: t.TempDir()}, "host"); err != nil || len(s.CAs) != 0 {
		t.Errorf("a machine with nothing: %v %+v", err, s.CAs)
	}
}

// KNUT_CA is read where GitLab sets it: a path, or the certificate itself.
func TestUnivention(t *testing.T) {
	root := string(makeCert(t, certSpec{cn: "KNUT"}))
	dir := writeTree(t, map[string]string{"KNUT_CA": root})
	for name, value := range map[string]string{"file": dir + "/KNUT_CA", "value": root} {
		s, err := Load("univention", LoadOptions{Now: testNow, Getenv: func(n string) string { return map[string]string{"KNUT_CA": value}[n] }})
		if err != nil || len(s.CAs) != 1 || s.CAs[0].Name != "knut-ca" || len(s.Notes) != 0 {
			t.Errorf("%s: %v %+v", name, err, s.CAs)
		}
		if err := s.Check(testNow); err != nil {
			t.Error(err)
		}
	}
	s, err := Load("univention", LoadOptions{})
	if err != nil || len(s.CAs) != 0 || len(s.Notes) != 1 {
		t.Errorf("without: %v %+v", err, s)
	}
}
