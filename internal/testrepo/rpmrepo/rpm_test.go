package rpmrepo

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/rpmfile"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// rpm runs the real program with a database of its own.
func rpm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"--define", "_dbpath " + filepath.Join(t.TempDir(), "db")}, args...)
	out, err := exec.Command(testneed.Program(t, "rpm"), args...).CombinedOutput()
	return string(out), err
}

func TestRealRPMTakesOurPackages(t *testing.T) {
	key := NewKey(t)
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	put(t, filepath.Join(dir, "key.asc"), key.Public(t))
	if out, err := exec.Command(testneed.Program(t, "rpm"), "--dbpath", db, "--import", filepath.Join(dir, "key.asc")).CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	for _, c := range []string{"", "gzip", "xz", "identity"} {
		r := RPM{Name: "sample", Version: "1.2~rc1", Epoch: 3, Arch: "x86_64", Requires: []string{"a >= 2", "(b if c)", "/bin/sh"}, Provides: []string{"virtual = 7"},
			Key: key, V3: c == "gzip", Compression: c, Post: "echo hello", Files: []File{
				Dir("/etc/sample"), Regular("/etc/sample/conf", "x=1\n"), Exec("/usr/bin/sample", "#!/bin/sh\n"), Symlink("/usr/bin/other", "sample"),
				{rpmfile.File{Path: "/usr/bin/ping", Mode: rpmfile.ModeRegular | 0o755, Caps: "cap_net_raw=ep"}, []byte("ping")},
			}}
		data := r.Build(t)
		file := filepath.Join(dir, r.NEVRA()+".rpm")
		put(t, file, data)
		out, err := exec.Command("rpm", "--dbpath", db, "-Kv", file).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Signature, key ID") || strings.Contains(string(out), "NOKEY") || strings.Contains(string(out), "BAD") {
			t.Errorf("%s: rpm -Kv: %v\n%s", c, err, out)
		}
		out2, err := rpm(t, "-qp", "--nosignature", "--qf", "%{EPOCH}:%{NEVRA}\n[%{FILENAMES} %{FILEMODES:perms} %{FILECAPS}\n]%{REQUIRES}", file)
		if err != nil || !strings.Contains(out2, "/usr/bin/ping -rwxr-xr-x cap_net_raw=ep") || !strings.HasPrefix(out2, "3:sample-3:1.2~rc1-1.x86_64") && !strings.HasPrefix(out2, "3:sample-1.2~rc1-1.x86_64") {
			t.Errorf("%s: rpm -qp: %v\n%s", c, err, out2)
		}

		// And our own reader agrees with the writer.
		in := bytes.NewReader(data)
		p, err := rpmfile.Read(in)
		if err != nil {
			t.Fatal(err)
		}
		files, err := p.Files()
		if err != nil || len(files) != 5 || p.EVR() != "3:1.2~rc1-1" || p.CheckHeader() != nil {
			t.Errorf("%s: read back %d files, %s: %v", c, len(files), p.EVR(), err)
		}
		got := map[string]string{}
		err = p.Payload(in, files, 1<<20, func(i int, n int64, content io.Reader) error {
			b, err := io.ReadAll(content)
			got[files[i].Path] = string(b)
			return err
		})
		if err != nil || got["/etc/sample/conf"] != "x=1\n" || got["/usr/bin/other"] != "sample" {
			t.Errorf("%s: payload %v: %v", c, got, err)
		}
	}
}

func TestRepository(t *testing.T) {
	key, dir := NewKey(t), t.TempDir()
	Write(t, dir, key, Made, RPM{Name: "a", Key: key}, RPM{Name: "b", Key: key, Requires: []string{"a"}})
	md, err := os.ReadFile(filepath.Join(dir, "repodata/repomd.xml"))
	if err != nil || !strings.Contains(string(md), "<revision>1772366400</revision>") {
		t.Errorf("repomd.xml: %v\n%s", err, md)
	}
	Write(t, dir+"/2", key, Made, RPM{Name: "a", Key: key}, RPM{Name: "b", Key: key, Requires: []string{"a"}})
	again, _ := os.ReadFile(filepath.Join(dir, "2/repodata/repomd.xml"))
	if string(md) != string(again) {
		t.Error("the same repository twice has different metadata")
	}
}
