package ca

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// member is one file of an archive.
type member struct {
	name string
	data []byte
}

func zipped(now time.Time, files ...member) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: now})
		if err == nil {
			_, err = w.Write(f.data)
		}
		if err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

func tarred(now time.Time, files ...member) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.data)), ModTime: now, Format: tar.FormatUSTAR})
		if err == nil {
			_, err = w.Write(f.data)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	err := z.Close()
	return b.Bytes(), err
}

func gzipped(data []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	err := z.Close()
	return b.Bytes(), err
}

// addGit adds a repository of one commit for git's dumb protocol (gitprotocol-http,
// gitformat-pack: loose objects).
func addGit(t tree, now time.Time) error {
	object := func(kind string, data []byte) ([]byte, error) {
		raw := append(fmt.Appendf(nil, "%s %d\x00", kind, len(data)), data...)
		sum := sha1.Sum(raw)
		var b bytes.Buffer
		z := zlib.NewWriter(&b)
		if _, err := z.Write(raw); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		id := hex.EncodeToString(sum[:])
		t.put("git/objects/"+id[:2]+"/"+id[2:], b.Bytes())
		return sum[:], nil
	}
	blob, err := object("blob", []byte(answer))
	if err != nil {
		return err
	}
	dir, err := object("tree", append([]byte("100644 file\x00"), blob...))
	if err != nil {
		return err
	}
	who := fmt.Sprintf("Proof <proof@origin.test> %d +0000", now.Unix())
	commit, err := object("commit", fmt.Appendf(nil, "tree %x\nauthor %s\ncommitter %s\n\nproof\n", dir, who, who))
	if err != nil {
		return err
	}
	t.put("git/HEAD", []byte("ref: refs/heads/main\n"))
	t.put("git/info/refs", fmt.Appendf(nil, "%x\trefs/heads/main\n", commit))
	t.put("git/objects/info/packs", []byte("\n"))
	return nil
}

// addWheel adds a wheel (PEP 427) to a page of links (PEP 503).
func addWheel(t tree, now time.Time) error {
	const name, info = "cfbuild_proof-1.0-py3-none-any.whl", "cfbuild_proof-1.0.dist-info/"
	files := []member{
		{"cfbuild_proof.py", []byte("answer = 42\n")},
		{info + "METADATA", []byte("Metadata-Version: 2.1\nName: cfbuild-proof\nVersion: 1.0\n")},
		{info + "WHEEL", []byte("Wheel-Version: 1.0\nGenerator: cfbuild\nRoot-Is-Purelib: true\nTag: py3-none-any\n")},
	}
	var record strings.Builder
	for _, f := range files {
		sum := sha256.Sum256(f.data)
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", f.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.data))
	}
	record.WriteString(info + "RECORD,,\n")
	wheel, err := zipped(now, append(files, member{info + "RECORD", []byte(record.String())})...)
	t.put("simple/cfbuild-proof/", fmt.Appendf(nil, "<!DOCTYPE html><html><body><a href=\"%s#sha256=%x\">%s</a></body></html>\n", name, sha256.Sum256(wheel), name))
	t.put("simple/cfbuild-proof/"+name, wheel)
	return err
}

// addNPM adds a package to a registry (npm's package metadata).
func addNPM(t tree, now time.Time) error {
	manifest := map[string]any{"name": "cfbuild-proof", "version": "1.0.0", "description": "proof"}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	pack, err := tarred(now, member{"package/package.json", text})
	if err != nil {
		return err
	}
	one, five := sha1.Sum(pack), sha512.Sum512(pack)
	t.put("npm/cfbuild-proof.tgz", pack)
	t["npm/cfbuild-proof"] = func(base string) []byte {
		v := map[string]any{"name": "cfbuild-proof", "version": "1.0.0", "dist": map[string]string{
			"tarball": base + "/npm/cfbuild-proof.tgz", "shasum": hex.EncodeToString(one[:]),
			"integrity": "sha512-" + base64.StdEncoding.EncodeToString(five[:])}}
		b, _ := json.Marshal(map[string]any{"name": "cfbuild-proof", "dist-tags": map[string]string{"latest": "1.0.0"},
			"versions": map[string]any{"1.0.0": v}}) // maps of strings marshal
		return b
	}
	return nil
}

// addCRAN adds a source package to a mirror (R Installation and Administration,
// "Setting up a package repository").
func addCRAN(t tree, now time.Time) error {
	description := "Package: cfbuildproof\nVersion: 1.0\n"
	pack, err := tarred(now, member{"cfbuildproof/DESCRIPTION", []byte(description + "Title: Proof\nLicense: Apache-2.0\n")},
		member{"cfbuildproof/NAMESPACE", nil})
	t.put("cran/src/contrib/PACKAGES", []byte(description+"NeedsCompilation: no\n"))
	t.put("cran/src/contrib/cfbuildproof_1.0.tar.gz", pack)
	return err
}

// addConda adds a channel with one package in its index.
func addConda(t tree) error {
	for _, sub := range []string{"noarch", "linux-64", "linux-aarch64", "linux-ppc64le", "linux-s390x"} {
		packages := map[string]any{}
		if sub == "noarch" {
			packages["cfbuild-proof-1.0-0.tar.bz2"] = map[string]any{"name": "cfbuild-proof", "version": "1.0", "build": "0", "build_number": 0,
				"depends": []string{}, "subdir": "noarch", "noarch": "generic", "size": 1, "md5": strings.Repeat("0", 32)}
		}
		b, err := json.Marshal(map[string]any{"info": map[string]string{"subdir": sub}, "packages": packages, "packages.conda": map[string]any{}, "repodata_version": 1})
		if err != nil {
			return err
		}
		t.put("conda/"+sub+"/repodata.json", b)
		t.put("conda/"+sub+"/current_repodata.json", b)
	}
	return nil
}

// addGo adds a module to a proxy (Go Modules Reference, "GOPROXY protocol").
func addGo(t tree, now time.Time) error {
	const name, version = "origin.test/proof", "v1.0.0"
	mod := []byte("module " + name + "\n")
	zip, err := zipped(now, member{name + "@" + version + "/go.mod", mod}, member{name + "@" + version + "/proof.go", []byte("package proof\n")})
	at := "go/" + name + "/@v/" + version
	t.put(at+".info", fmt.Appendf(nil, `{"Version":%q,"Time":%q}`, version, now.UTC().Format(time.RFC3339)))
	t.put(at+".mod", mod)
	t.put(at+".zip", zip)
	return err
}
