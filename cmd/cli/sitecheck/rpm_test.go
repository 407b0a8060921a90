package sitecheck

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/site"
	"github.com/klauspost/compress/zstd"
)

// serve serves files by path; an absent one is a 404.
func serve(t *testing.T, files map[string][]byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, there := files[r.URL.Path]
		if !there {
			http.NotFound(w, r)
			return
		}
		w.Write(data)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func gz(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func zst(data []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(data, nil)
}

// rpmRepo makes the files of a repository with two packages.
func rpmRepo(t *testing.T, key *archivetest.Key, stamp int64, ext string) map[string][]byte {
	const base = "/9/BaseOS/x86_64/os/"
	big, small := noise(5000), noise(300)
	entry := func(name string, data []byte) string {
		return fmt.Sprintf(`<package type="rpm"><name>%s</name><checksum type="sha256" pkgid="YES">%x</checksum><size package="%d" installed="9"/><location href="Packages/%s.rpm"/></package>`,
			name, sha256.Sum256(data), len(data), name)
	}
	primary := []byte(`<?xml version="1.0"?><metadata xmlns="http://linux.duke.edu/metadata/common" packages="2">` + entry("big-1-1", big) + entry("small-1-1", small) + `</metadata>`)
	packed := map[string]func([]byte) []byte{".gz": gz, ".zst": zst, "": func(b []byte) []byte { return b }}[ext](primary)
	repomd := []byte(fmt.Sprintf(`<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>8</revision><data type="filelists"/><data type="primary"><checksum type="sha256">%x</checksum><location href="repodata/primary.xml%s"/><timestamp>%d</timestamp><size>%d</size></data></repomd>`,
		sha256.Sum256(packed), ext, stamp, len(packed)))
	files := map[string][]byte{
		base + "repodata/repomd.xml": repomd, base + "repodata/primary.xml" + ext: packed,
		base + "Packages/big-1-1.rpm": big, base + "Packages/small-1-1.rpm": small,
	}
	if key != nil {
		files[base+"repodata/repomd.xml.asc"] = archivetest.Detached(t, repomd, now, key)
	}
	return files
}

func TestRPM(t *testing.T) {
	key, other := archivetest.NewKey(t, now.AddDate(0, -1, 0)), archivetest.NewKey(t, now.AddDate(0, -1, 0))
	const base = "/9/BaseOS/x86_64/os/"
	recent := now.Add(-48*3600e9 - 1).Unix()
	good := serve(t, rpmRepo(t, key, recent, ".gz"))
	change := func(path string, to []byte) string {
		files := rpmRepo(t, key, recent, ".gz")
		if to == nil {
			delete(files, base+path)
		} else {
			files[base+path] = to
		}
		return serve(t, files)
	}
	for _, c := range []struct {
		name, url string
		status    Status
		says      string
	}{
		{"good", good, OK, "signed 2026-06-08"},
		{"zstd, unsigned", serve(t, rpmRepo(t, nil, recent, ".zst")), OK, "index not signed; "},
		{"plain", serve(t, rpmRepo(t, key, recent, "")), OK, "small-1-1.rpm is right"},
		{"stale", serve(t, rpmRepo(t, key, recent-5*86400, ".gz")), Warning, "stale: 5 days behind " + good},
		{"another key", serve(t, rpmRepo(t, other, recent, ".gz")), Failed, "no good signature by a known key"},
		{"no repository", serve(t, nil), Failed, "repodata/repomd.xml: 404 Not Found"},
		{"web page", change("repodata/repomd.xml", []byte("<html><body>log in")), Failed, "repodata/repomd.xml is a web page"},
		{"cut off", change("repodata/repomd.xml", []byte("<?xml version='1.0'?><repomd>")), Failed, "repodata/repomd.xml cannot be read"},
		{"index missing", change("repodata/primary.xml.gz", nil), Failed, "incomplete: index repodata/primary.xml.gz: "},
		{"index changed", change("repodata/primary.xml.gz", []byte("x")), Failed, "incomplete: index repodata/primary.xml.gz: it has 1 bytes"},
		{"package missing", change("Packages/small-1-1.rpm", nil), Failed, "incomplete: package small-1-1.rpm: "},
		{"package short", change("Packages/small-1-1.rpm", []byte("x")), Failed, "incomplete: package small-1-1.rpm: it has 1 bytes, not the 300 that the index says"},
		{"package changed", change("Packages/small-1-1.rpm", noise(301)[1:]), Failed, "incomplete: package small-1-1.rpm: its sha256 is "},
		{"down", archivetest.Down(t), Failed, "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := run(t, Input{Site: mirrors("example", key.Keyring(t), c.url, good), Pipeline: pipeline("rpm", "example", "9/BaseOS/$basearch/os")})
			m := g.Mirrors[0]
			if g.Kind != "rpm" || g.Probed != "9/BaseOS/x86_64/os" || m.Status != c.status || !strings.Contains(m.text(), c.says) {
				t.Errorf("%s %s: %s: %s\n> %s", g.Kind, g.Probed, m.Status, m.text(), m.Fix)
			}
			if c.status == Failed && m.Fix == "" {
				t.Error("nothing is advised")
			}
			if ok := g.Mirrors[1]; ok.Status != OK || ok.Package != "small-1-1.rpm" || ok.Signature != "verified" {
				t.Errorf("the good mirror: %s %s", ok.Status, ok.text())
			}
		})
	}
	t.Run("no key known", func(t *testing.T) {
		in := Input{Site: mirrors("example", site.Keyring{}, good), Pipeline: pipeline("rpm", "example", "9/BaseOS/$basearch/os")}
		if m := run(t, in).Mirrors[0]; m.Status != OK || m.Signature != "no key known" {
			t.Errorf("%s %s", m.Status, m.text())
		}
		in.Keys = func(repository, suite string) []byte {
			if repository != "example" || suite != "9/BaseOS/$basearch/os" {
				t.Errorf("keys of %s %s are asked for", repository, suite)
			}
			return key.Public(t)
		}
		if m := run(t, in).Mirrors[0]; m.Signature != "verified" {
			t.Errorf("with the program's keys: %s", m.text())
		}
	})
}

// member makes a gzip member with a tar of one file, without end blocks.
func tarMember(name string, data []byte, end bool) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))})
	w.Write(data)
	w.Flush()
	if end {
		w.Close()
	}
	return gz(b.Bytes())
}

func apkRepo(t *testing.T, key *rsa.PrivateKey, built int64) map[string][]byte {
	t.Helper()
	const base = "/v3.22/main/x86_64/"
	files := map[string][]byte{}
	index := ""
	for name, n := range map[string]int{"big": 5000, "small": 200} {
		control := tarMember(".PKGINFO", []byte("pkgname = "+name), false)
		file := append(append(tarMember(".SIGN.RSA.k.rsa.pub", []byte("sig"), false), control...), tarMember("data", noise(n), true)...)
		sum := sha1.Sum(control)
		files[base+name+"-1-r0.apk"] = file
		index += fmt.Sprintf("C:Q1%s\nP:%s\nV:1-r0\nA:x86_64\nS:%d\nI:9\nt:%d\n\n", base64.StdEncoding.EncodeToString(sum[:]), name, len(file), built)
	}
	body := tarMember("APKINDEX", []byte(index), true)
	if key != nil {
		sum := sha1.Sum(body)
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA1, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		body = append(tarMember(".SIGN.RSA.k.rsa.pub", sig, false), body...)
	}
	files[base+"APKINDEX.tar.gz"] = body
	return files
}

func TestAPK(t *testing.T) {
	const base = "/v3.22/main/x86_64/"
	newKey := func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	key, other := newKey(), newKey()
	der, _ := x509.MarshalPKIXPublicKey(&key.PublicKey)
	ring := site.Keyring{Keys: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), Replace: true}
	recent := now.AddDate(0, 0, -1).Unix()
	good := serve(t, apkRepo(t, key, recent))
	change := func(path string, to []byte) string {
		files := apkRepo(t, key, recent)
		delete(files, base+path)
		if to != nil {
			files[base+path] = to
		}
		return serve(t, files)
	}
	for _, c := range []struct {
		name, url string
		status    Status
		says      string
	}{
		{"good", good, OK, "signed 2026-06-09"},
		{"unsigned", serve(t, apkRepo(t, nil, recent)), OK, "index not signed; "},
		{"stale", serve(t, apkRepo(t, key, recent-90*86400)), Warning, "stale: 90 days behind " + good},
		{"another key", serve(t, apkRepo(t, other, recent)), Failed, "no good signature by a known key (.SIGN.RSA.k.rsa.pub)"},
		{"no index", change("APKINDEX.tar.gz", nil), Failed, "404 Not Found"},
		{"web page", change("APKINDEX.tar.gz", []byte("<html>")), Failed, "APKINDEX.tar.gz is a web page"},
		{"cut off", change("APKINDEX.tar.gz", apkRepo(t, key, recent)[base+"APKINDEX.tar.gz"][:400]), Failed, "APKINDEX.tar.gz cannot be read"},
		{"package missing", change("small-1-r0.apk", nil), Failed, "incomplete: package small-1-r0.apk: "},
		{"package short", change("small-1-r0.apk", []byte("x")), Failed, "incomplete: package small-1-r0.apk: it has 1 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := run(t, Input{Site: mirrors("example", ring, c.url, good), Pipeline: pipeline("apk", "example", "v3.22")})
			m := g.Mirrors[0]
			if g.Probed != "v3.22/main/x86_64" || m.Status != c.status || !strings.Contains(m.text(), c.says) {
				t.Errorf("%s: %s: %s\n> %s", g.Probed, m.Status, m.text(), m.Fix)
			}
			if ok := g.Mirrors[1]; ok.Status != OK || ok.Package != "small-1-r0.apk" || ok.Signature != "verified" {
				t.Errorf("the good mirror: %s %s", ok.Status, ok.text())
			}
		})
	}
}
