package site

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
)

func (r *reader) keyrings(t *value, base map[string]Keyring) map[string]Keyring {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]Keyring{}
	}
	for _, repo := range t.keys {
		v, key := t.table[repo], "keyrings."+repo
		r.repository(v.line, "keyrings", repo)
		k := Keyring{}
		file := v
		if v.kind == "table" {
			r.known(v, key+".", "file", "replace", "build-only")
			k.Replace = r.truth(v, "replace", key+".")
			k.BuildOnly = r.truth(v, "build-only", key+".")
			if file = v.table["file"]; file == nil {
				r.fail(v.line, key, &fault{"has no file", `write { file = "archive.asc", replace = true }`})
				continue
			}
		}
		if !r.is(file, "string", key, `"archive-key.asc"`) {
			continue
		}
		path := file.text
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.dir, path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			r.fail(file.line, key, &fault{reason(err), "paths are relative to the site file"})
			continue
		}
		if holdsSecretKey(data) {
			r.fail(file.line, key, &fault{path + ": holds a private key", "keep it to yourself, and name a file with the public key: gpg --export --armor KEYID > archive-key.asc"})
			continue
		}
		if !looksLikeKeys(data) {
			r.fail(file.line, key, &fault{path + ": holds no public keys", "export them: gpg --export --armor KEYID > archive-key.asc"})
		}
		k.Keys, k.Name = data, filepath.Base(path)
		out[repo] = k
	}
	return out
}

// looksLikeKeys: armored OpenPGP public keys, RSA ones in PEM (for apk), or a binary
// public-key packet (tag 6, RFC 9580 section 4.2, in the old or new header format).
func looksLikeKeys(b []byte) bool {
	if bytes.Contains(b, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) {
		return true
	}
	if bytes.Contains(b, []byte("-----BEGIN PUBLIC KEY-----")) {
		return true // apk's, in PEM
	}
	return len(b) > 16 && (b[0]&0xfc == 0x98 || b[0] == 0xc6)
}

// holdsSecretKey: armored, or a binary packet with a secret key or subkey (tags 5
// and 7, RFC 9580 section 5) anywhere in the file.
func holdsSecretKey(b []byte) bool {
	if bytes.Contains(b, []byte("PRIVATE KEY")) {
		return true
	}
	for len(b) > 1 && b[0]&0x80 != 0 {
		tag, head, n := int(b[0]>>2&0x0f), 0, 0
		if b[0]&0x40 != 0 {
			tag = int(b[0] & 0x3f)
			switch l := int(b[1]); {
			case l < 192:
				head, n = 2, l
			case l < 224 && len(b) > 2:
				head, n = 3, (l-192)<<8+int(b[2])+192
			case l == 255 && len(b) > 5:
				head, n = 6, int(b[2])<<24|int(b[3])<<16|int(b[4])<<8|int(b[5])
			}
		} else {
			switch size := 1 << (b[0] & 3); {
			case size <= 4 && len(b) > size:
				head = 1 + size
				for _, c := range b[1:head] {
					n = n<<8 | int(c)
				}
			}
		}
		if tag == 5 || tag == 7 {
			return true
		}
		if head == 0 || head+n > len(b) {
			return false
		}
		b = b[head+n:]
	}
	return false
}
