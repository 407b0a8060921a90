package site

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
		if c, err := x509.ParseCertificate(data); err == nil {
			return nil, &fault{fmt.Sprintf("is a DER certificate (%s), not PEM", c.Subject),
				"convert it: openssl x509 -inform der -in FILE -out FILE.pem"}
		}
		return nil, &fault{"holds no PEM certificate", "a PEM file has lines from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"}
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
		case strings.Contains(b.kind, "PRIVATE KEY"):
			return nil, &fault{fmt.Sprintf("holds a private key (line %d)", b.line),
				"name a file with the authority's certificate only, and keep the key to yourself"}
		case b.kind == "TRUSTED CERTIFICATE":
			return nil, &fault{where("") + " is in OpenSSL's TRUSTED form", "convert it: openssl x509 -in FILE -out FILE.pem"}
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

type block struct {
	kind string
	der  []byte // nil when damaged
	line int
}

// splitPEM finds every BEGIN line, so that a damaged block is not passed over as
// encoding/pem would.
func splitPEM(data []byte) []block {
	var out []block
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i, l := range lines {
		kind, ok := strings.CutPrefix(strings.TrimSpace(string(l)), "-----BEGIN ")
		if !ok {
			continue
		}
		b := block{kind: strings.TrimSuffix(kind, "-----"), line: i + 1}
		end := i + 1
		for end < len(lines) && !bytes.HasPrefix(bytes.TrimSpace(lines[end]), []byte("-----BEGIN ")) {
			end++
		}
		if p, _ := pem.Decode(bytes.Join(lines[i:end], nil)); p != nil {
			b.der = p.Bytes
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

// readCAs reads one entry of a "ca" list; relative paths are relative to dir.
func (o LoadOptions) readCAs(entry, dir string, buildOnly bool) ([]Certificate, *fault) {
	entry = strings.TrimSpace(entry)
	from := ""
	if strings.HasPrefix(entry, "$") {
		name := strings.Trim(entry[1:], "{}")
		from, entry = "$"+name+": ", strings.TrimSpace(o.getenv(name))
		if entry == "" {
			return nil, &fault{fmt.Sprintf("variable %s is not set", name),
				"in GitLab define it under Settings → CI/CD → Variables with type File"}
		}
	}
	if strings.Contains(entry, "-----BEGIN ") {
		cas, bad := o.toCAs([]byte(entry), "", buildOnly)
		if bad != nil {
			bad.cause = from + bad.cause
		}
		return cas, bad
	}
	if entry == "" {
		return nil, &fault{"is empty", ""}
	}
	files, bad := caFiles(entry, dir)
	if bad != nil {
		bad.cause = from + bad.cause
		return nil, bad
	}
	var out []Certificate
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, &fault{from + reason(err), ""}
		}
		base := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
		cas, bad := o.toCAs(data, base, buildOnly)
		if bad != nil {
			return nil, &fault{from + f + ": " + bad.cause, strings.ReplaceAll(bad.fix, "FILE", f)}
		}
		out = append(out, cas...)
	}
	return out, nil
}

// caFiles gives the files an entry means: itself, those of a directory, or those a
// pattern matches, sorted.
func caFiles(entry, dir string) ([]string, *fault) {
	path := entry
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		var files []string
		for _, ending := range []string{"*.pem", "*.crt", "*.cer"} {
			m, _ := filepath.Glob(filepath.Join(globQuote(path), ending))
			files = append(files, m...)
		}
		slices.Sort(files)
		if len(files) == 0 {
			return nil, &fault{fmt.Sprintf("directory %s holds no *.pem, *.crt or *.cer file", path), ""}
		}
		return files, nil
	} else if err == nil {
		return []string{path}, nil
	} else if !strings.ContainsAny(entry, "*?[") {
		return nil, &fault{reason(err), "a relative path starts at " + cmp.Or(dir, ".") + "; a directory, a pattern such as Netskope*.pem or a $VARIABLE will do too"}
	}
	files, err := filepath.Glob(path)
	if err != nil {
		return nil, &fault{fmt.Sprintf("pattern %q: %v", entry, err), ""}
	}
	if len(files) == 0 {
		return nil, &fault{fmt.Sprintf("no file matches %s", path), "put the certificates there, or take the entry out"}
	}
	return files, nil
}

func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// reason is an error of the os package as "PATH: no such file or directory".
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Path + ": " + p.Err.Error()
	}
	return err.Error()
}

// toCAs checks all certificates of a PEM text and names them after base, or after
// their subject where base is empty.
func (o LoadOptions) toCAs(data []byte, base string, buildOnly bool) ([]Certificate, *fault) {
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
		out = append(out, Certificate{Name: safeName(name), PEM: encode(f.cert), BuildOnly: buildOnly})
	}
	return out, nil
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
