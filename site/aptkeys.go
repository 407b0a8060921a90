package site

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// keys gives the OpenPGP keys apt trusts for the entry, in binary: those of
// Signed-By (files, or a key written out), else those trusted for everything.
func (e aptEntry) keys(o LoadOptions, note func(string, ...any)) []byte {
	if strings.Contains(e.signedBy, "-----BEGIN PGP") {
		return dearmor([]byte(unfold(e.signedBy)))
	}
	var files []string
	for _, f := range strings.FieldsFunc(e.signedBy, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		if strings.HasPrefix(f, "/") {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		// Also for a fingerprint: it selects one of these.
		files = append(files, "/etc/apt/trusted.gpg")
		list, _ := os.ReadDir(o.root("/etc/apt/trusted.gpg.d"))
		for _, f := range list {
			if ext := filepath.Ext(f.Name()); ext == ".gpg" || ext == ".asc" {
				files = append(files, "/etc/apt/trusted.gpg.d/"+f.Name())
			}
		}
	}
	var out []byte
	for _, f := range files {
		data, err := os.ReadFile(o.root(f))
		switch {
		case err != nil && f == "/etc/apt/trusted.gpg":
		case err != nil:
			note("%s: keyring left out: %s", e.file, reason(err))
		case len(data) > 12 && string(data[8:12]) == "KBXf":
			// GnuPG's own store, which apt does not read either.
		default:
			out = addKeys(out, dearmor(data))
		}
	}
	return out
}

// addKeys joins binary keyrings without taking one in twice.
func addKeys(have, more []byte) []byte {
	if len(more) == 0 || bytes.Contains(have, more) {
		return have
	}
	return append(slices.Clone(have), more...)
}

// unfold undoes deb822's form of a long value: an empty line is written " .".
func unfold(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "." {
			line = ""
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// dearmor gives the packets of all armored blocks (RFC 9580, section 6); binary
// keys are given back as they are.
func dearmor(data []byte) []byte {
	if !bytes.Contains(data, []byte("-----BEGIN PGP")) {
		return data
	}
	var out []byte
	var body strings.Builder
	in, header := false, false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "-----BEGIN PGP PUBLIC KEY"):
			in, header = true, true
			body.Reset()
		case strings.HasPrefix(line, "-----END PGP"):
			if b, err := base64.StdEncoding.DecodeString(body.String()); err == nil && in {
				out = append(out, b...)
			}
			in = false
		case in && header && (line == "" || !strings.Contains(line, ": ")):
			header = false
			body.WriteString(line)
		case in && !header && !strings.HasPrefix(line, "="): // "=" begins the checksum
			body.WriteString(line)
		}
	}
	return out
}
