package apkrepo

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// Real things of Alpine's, which Go modules have among their test data: the
// distribution's own mirrors are not reachable from everywhere that the tests run, the
// Go module proxy is.
var (
	// An image of Alpine 3.11 as docker saves it: 14 packages with their database, for
	// x86_64.
	realImage = moduleFile{"github.com/aquasecurity/fanal@v0.0.0-20220426115253-1d75fc0c7219", "test/testdata/alpine-311.tar.gz",
		"54b65c6b45e9ab3fcba1043d0ecef41cb9b544aefef20e1c24aa4fbac3d585ef"}
	// An index of Alpine 3.16 as it was signed.
	realIndex = moduleFile{"chainguard.dev/apko@v0.30.0", "pkg/apk/apk/testdata/alpine-316/APKINDEX.tar.gz",
		"2272d5ff591c25e1b34c9da94444fe97d56801371c9533459d15889211740cf1"}
)

// moduleFile is a file of a Go module, by its SHA-256.
type moduleFile struct{ module, file, sum string }

// RealIndex is main of Alpine 3.16 for x86_64: an APKINDEX.tar.gz with Alpine's own
// signature.
func RealIndex(t testing.TB) []byte { return realIndex.read(t) }

var image struct {
	sync.Mutex
	root []Entry // every path of the image
}

// Root gives every path of the image of Alpine 3.11, without leading slashes.
func Root(t testing.TB) []Entry {
	t.Helper()
	image.Lock()
	defer image.Unlock()
	if image.root == nil {
		image.root = readImage(t, realImage.read(t))
	}
	return image.root
}

func (m moduleFile) read(t testing.TB) []byte {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", m.module)
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "GOFLAGS=-mod=mod", "GO111MODULE=on", "GOWORK=off")
	out, err := cmd.Output()
	var got struct{ Dir, Error string }
	if json.Unmarshal(out, &got) != nil || err != nil || got.Dir == "" {
		testneed.Skip(t, "the Go module "+m.module+" cannot be had: "+got.Error)
	}
	data, err := os.ReadFile(filepath.Join(got.Dir, m.file))
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != m.sum {
		t.Fatalf("%s of %s is another file: %x", m.file, m.module, sum)
	}
	return data
}

func readImage(t testing.TB, data []byte) []Entry {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	outer := tar.NewReader(z)
	for {
		h, err := outer.Next()
		if err != nil {
			t.Fatalf("the image has no layer: %v", err)
		}
		if strings.HasSuffix(h.Name, "/layer.tar") {
			break
		}
	}
	var out []Entry
	for r := tar.NewReader(outer); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		h.Name = strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		h.Uname, h.Gname = "", ""
		h.Mode &= 0o7777
		out = append(out, Entry{*h, body})
	}
}

// find gives one path of the image.
func find(t testing.TB, name string) Entry {
	t.Helper()
	i := slices.IndexFunc(Root(t), func(e Entry) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("the image of Alpine has no /%s", name)
	}
	return Root(t)[i]
}

// Alpine gives the packages of Alpine 3.11 as they are in the image: files, owners,
// scripts, triggers and relations of its own database.
func Alpine(t testing.TB) []Pkg {
	t.Helper()
	byPath := map[string]Entry{}
	for _, e := range Root(t) {
		byPath[e.Name] = e
	}
	scripts := map[string]map[string]string{} // by name-version
	r := tar.NewReader(bytes.NewReader(byPath["lib/apk/db/scripts.tar"].Data))
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		body, _ := io.ReadAll(r)
		i := strings.LastIndex(h.Name, ".Q1")
		_, kind, _ := strings.Cut(h.Name[i+1:], "=.")
		if scripts[h.Name[:i]] == nil {
			scripts[h.Name[:i]] = map[string]string{}
		}
		scripts[h.Name[:i]][kind] = string(body)
	}
	triggers := map[string][]string{} // by checksum
	for line := range strings.Lines(string(byPath["lib/apk/db/triggers"].Data)) {
		f := strings.Fields(line)
		triggers[f[0]] = f[1:]
	}
	var out []Pkg
	var p *Pkg
	dir := ""
	s := bufio.NewScanner(bytes.NewReader(byPath["lib/apk/db/installed"].Data))
	for s.Scan() {
		key, v, ok := strings.Cut(s.Text(), ":")
		if !ok {
			p = nil
			continue
		}
		if p == nil {
			out = append(out, Pkg{})
			p = &out[len(out)-1]
		}
		switch key {
		case "C":
			p.Triggers = triggers[v]
		case "P":
			p.Name = v
		case "V":
			p.Version = v
			p.Scripts = scripts[p.Name+"-"+v]
		case "A":
			p.Arch = v
		case "T":
			p.Desc = v
		case "U":
			p.URL = v
		case "L":
			p.License = v
		case "o":
			p.Origin = v
		case "m":
			p.Maintainer = v
		case "c":
			p.Commit = v
		case "t":
			n, _ := strconv.ParseInt(v, 10, 64)
			p.Built = time.Unix(n, 0)
		case "D":
			p.Depends = strings.Fields(v)
		case "p":
			p.Provides = strings.Fields(v)
		case "i":
			p.InstallIf = strings.Fields(v)
		case "r":
			p.Replaces = strings.Fields(v)
		case "F":
			dir = v
			e, ok := byPath[dir]
			if !ok {
				e = Dir(dir, 0o755) // docker empties /dev
			}
			if dir != "" {
				p.Files = append(p.Files, e)
			}
		case "R":
			e, ok := byPath[strings.TrimPrefix(dir+"/"+v, "/")]
			if !ok {
				t.Fatalf("the image of Alpine has no %s/%s", dir, v)
			}
			if e.Typeflag == tar.TypeLink { // packages have files of their own
				name := e.Name
				e = byPath[strings.TrimPrefix(e.Linkname, "./")]
				e.Name = name
			}
			p.Files = append(p.Files, e)
		}
	}
	return out
}

// Apk is the image's apk, version 2.10.4, to be run on this machine.
type Apk struct{ dir string }

// NewApk unpacks apk with the libraries it needs into a directory of the test.
func NewApk(t testing.TB) Apk {
	t.Helper()
	if out, err := exec.Command("uname", "-m").Output(); err != nil || strings.TrimSpace(string(out)) != "x86_64" {
		testneed.Skip(t, "the apk to compare with is for x86_64")
	}
	dir := t.TempDir()
	for _, e := range Root(t) {
		lib := strings.HasPrefix(e.Name, "lib/") || strings.HasPrefix(e.Name, "usr/lib/")
		if e.Name != "sbin/apk" && !(lib && strings.Contains(e.Name, ".so")) {
			continue
		}
		to := filepath.Join(dir, filepath.Base(e.Name))
		var err error
		switch {
		case e.Typeflag == tar.TypeReg:
			err = os.WriteFile(to, e.Data, 0o755)
		case filepath.Base(e.Linkname) != filepath.Base(e.Name): // else: from /usr/lib to /lib
			err = os.Symlink(filepath.Base(e.Linkname), to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return Apk{dir}
}

// Command is apk with arguments.
func (a Apk) Command(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(a.dir, "ld-musl-x86_64.so.1"), append([]string{"--library-path", a.dir, filepath.Join(a.dir, "apk")}, args...)...)
}

// Run runs apk and gives what it prints.
func (a Apk) Run(args ...string) (string, error) {
	out, err := a.Command(args...).CombinedOutput()
	return string(out), err
}
