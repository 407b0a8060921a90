package site

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"
	"time"
)

// found is one certificate of a PEM file, before it is judged.
type found struct {
	cert  *x509.Certificate
	where string // "certificate 2 of 3 (CN=Root, line 24)"
}

// readPEM gives the certificates of a PEM text, every one of which has to be
// whole. Text around the blocks is ignored, as OpenSSL does.
func readPEM(data []byte) ([]found, *fault) {
	blocks := splitPEM(data)
	if len(blocks) == 0 {
		return nil, notPEM(data)
	}
	// A key anywhere is refused first, whatever else is wrong with the file.
	for _, b := range blocks {
		if strings.Contains(b.kind, "PRIVATE KEY") || strings.Contains(b.kind, "SECRET KEY") {
			kind := "a private key"
			if strings.HasPrefix(b.kind, "ENCRYPTED") || b.encrypted {
				kind = "an encrypted private key"
			}
			return nil, &fault{fmt.Sprintf("holds %s (line %d)", kind, b.line), keepKey}
		}
	}
	var out []found
	for i, b := range blocks {
		where := func(subject string) string {
			s := fmt.Sprintf("line %d", b.line)
			if subject != "" {
				s = subject + ", " + s
			}
			return fmt.Sprintf("certificate %d of %d (%s)", i+1, len(blocks), s)
		}
		switch {
		case b.encrypted:
			return nil, &fault{where("") + " is encrypted", "an authority's certificate is public: ask for it as plain PEM"}
		case b.kind == "TRUSTED CERTIFICATE":
			return nil, &fault{where("") + " is in OpenSSL's TRUSTED form", "convert it: openssl x509 -in FILE -out FILE.pem"}
		case b.kind == "PKCS7" || b.kind == "CMS":
			return nil, &fault{fmt.Sprintf("holds a PKCS#7 bundle (line %d), not plain certificates", b.line),
				"take them out: openssl pkcs7 -print_certs -in FILE -out FILE.pem"}
		case b.kind != "CERTIFICATE":
			return nil, &fault{fmt.Sprintf("holds a PEM block of type %q (line %d), not a certificate", b.kind, b.line), ""}
		case b.der == nil:
			return nil, &fault{where("") + " is damaged: its PEM block is cut off or not base64",
				"copy the file again; openssl x509 -in FILE -noout -subject has to read it"}
		}
		c, err := x509.ParseCertificate(b.der)
		if err != nil {
			return nil, &fault{where("") + " does not parse: " + strings.TrimPrefix(err.Error(), "x509: "),
				"copy the file again; openssl x509 -in FILE -noout -subject has to read it"}
		}
		out = append(out, found{c, where(c.Subject.String())})
	}
	return out, nil
}

const keepKey = "name a file with the authority's certificate only, and keep the key to yourself"

// notPEM says what a file without PEM blocks is; of a key it repeats nothing.
func notPEM(data []byte) *fault {
	if c, err := x509.ParseCertificate(data); err == nil {
		return &fault{fmt.Sprintf("is a DER certificate (%s), not PEM", c.Subject),
			"convert it: openssl x509 -inform der -in FILE -out FILE.pem"}
	}
	if isDERKey(data) {
		return &fault{"is a private key in DER form", keepKey}
	}
	// PKCS#12 (RFC 7292) is a sequence that begins with version 3; Java's own
	// keystores have a magic number.
	var p12 struct {
		Version int
		Rest    asn1.RawValue
	}
	if _, err := asn1.Unmarshal(data, &p12); err == nil && p12.Version == 3 {
		return &fault{"is a PKCS#12 store, which is encrypted and may hold a private key", "take the certificate out: openssl pkcs12 -in FILE -nokeys -cacerts -out FILE.pem"}
	}
	if bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}) {
		return &fault{"is a Java keystore", "take the certificate out: keytool -exportcert -rfc -keystore FILE -alias NAME -file FILE.pem"}
	}
	return &fault{"holds no PEM certificate", "a PEM file has lines from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"}
}

func isDERKey(data []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(data); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(data); err == nil {
		return true
	}
	if _, err := x509.ParseECPrivateKey(data); err == nil {
		return true
	}
	// An encrypted PKCS#8 key (RFC 5958): algorithm and octets, no more.
	var enc struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	rest, err := asn1.Unmarshal(data, &enc)
	return err == nil && len(rest) == 0
}

type block struct {
	kind string
	der  []byte // nil when damaged
	line int

	encrypted bool // RFC 1421 headers say so
}

// splitPEM finds every BEGIN line, so that a damaged block is not passed over as
// encoding/pem would.
func splitPEM(data []byte) []block {
	var out []block
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a byte order mark, as Windows' editors write
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i, l := range lines {
		kind, ok := strings.CutPrefix(strings.TrimSpace(string(l)), "-----BEGIN ")
		if !ok {
			continue
		}
		kind, _, _ = strings.Cut(kind, "-----") // the rest of a line may be a key
		b := block{kind: kind, line: i + 1}
		end := i + 1
		for end < len(lines) && !bytes.HasPrefix(bytes.TrimSpace(lines[end]), []byte("-----BEGIN ")) {
			end++
		}
		if p, _ := pem.Decode(bytes.Join(lines[i:end], nil)); p != nil {
			b.der = p.Bytes
			b.encrypted = strings.Contains(p.Headers["Proc-Type"], "ENCRYPTED") || p.Headers["DEK-Info"] != ""
		}
		out = append(out, b)
	}
	return out
}

// judge says why a certificate cannot be a trusted authority now, nil if it can.
func (f found) judge(now time.Time) *fault {
	c := f.cert
	const day = "2006-01-02"
	switch {
	case !isCA(c):
		return &fault{f.where + " is not a certificate authority (basicConstraints CA:FALSE)",
			fmt.Sprintf("give the authority that signed it: %s", c.Issuer)}
	case now.IsZero():
		return nil
	case now.After(c.NotAfter):
		return &fault{fmt.Sprintf("%s expired on %s", f.where, c.NotAfter.UTC().Format(day)),
			"put the renewed certificate in its place, or take it out"}
	case now.Before(c.NotBefore):
		return &fault{fmt.Sprintf("%s is not valid before %s", f.where, c.NotBefore.UTC().Format(day)),
			fmt.Sprintf("check this machine's clock: it says %s", now.UTC().Format(day))}
	}
	return nil
}

// isCA: version 1 roots have no basicConstraints, and are authorities when they
// signed themselves.
func isCA(c *x509.Certificate) bool {
	return c.IsCA || (c.Version < 3 && bytes.Equal(c.RawSubject, c.RawIssuer))
}

// toCAs checks all certificates of a PEM text and names them after base, or after
// their subject where base is empty.
func (o LoadOptions) toCAs(data []byte, base string, use caUse) ([]Certificate, *fault) {
	all, bad := readPEM(data)
	if bad != nil {
		return nil, bad
	}
	var out []Certificate
	for i, f := range all {
		if bad := f.judge(o.Now); bad != nil {
			return nil, bad
		}
		name := base
		switch {
		case name == "":
			name = subjectName(f.cert)
		case len(all) > 1:
			name = fmt.Sprintf("%s-%d", base, i+1)
		}
		out = append(out, Certificate{Name: safeName(name), PEM: encode(f.cert), BuildOnly: use.buildOnly, ImageOnly: use.imageOnly})
	}
	return out, nil
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
