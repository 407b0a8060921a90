package deb

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestToolPath(t *testing.T) {
	for in, want := range map[string]string{
		"./usr/bin/sed": "bin/sed", "bin/dash": "bin/dash", "usr/bin": "", "usr/sbin/chroot": "",
		"usr/lib/x86_64-linux-gnu/libc.so.6":              "lib/libc.so.6",
		"lib/x86_64-linux-gnu/ld-linux-x86-64.so.2":       "lib/ld-linux-x86-64.so.2",
		"usr/lib/x86_64-linux-gnu/perl-base/IO/File.pm":   "lib/perl-base/IO/File.pm",
		"usr/lib/x86_64-linux-gnu/gconv/ISO8859-1.so":     "",
		"usr/lib/aarch64-linux-gnu/libc.so.6":             "",
		"usr/share/doc/sed/copyright":                     "",
		"usr/lib/x86_64-linux-gnu/../../../etc/passwd":    "",
		"usr/lib/x86_64-linux-gnu/coreutils/libstdbuf.so": "",
	} {
		if got := toolPath("amd64", in); got != want {
			t.Errorf("%s goes to %q, want %q", in, got, want)
		}
	}
}

// A program of this machine runs with the loader it is given.
func TestWithLoader(t *testing.T) {
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	got, err := withLoader(bytes.Clone(b))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(b) || !bytes.Contains(got, []byte("\x00"+toolDir+"/ld\x00")) && !bytes.Contains(got, []byte(toolDir+"/ld\x00")) {
		t.Fatal("the loader's path is not in the program")
	}
	p := filepath.Join(t.TempDir(), "true")
	if err := os.WriteFile(p, got, 0o755); err != nil {
		t.Fatal(err)
	}
	// Its loader is not there, so the kernel cannot find "it".
	if err := exec.Command(p).Run(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the program does not look for its loader in %s: %v", toolDir, err)
	}
	script := []byte("#!/bin/sh\nexit 0\n")
	if got, err := withLoader(bytes.Clone(script)); err != nil || !bytes.Equal(got, script) {
		t.Errorf("a script was changed: %v", err)
	}
}

func TestFilterToolsEndsWithItsInput(t *testing.T) {
	var in, out bytes.Buffer
	w := tar.NewWriter(&in)
	for _, name := range []string{"usr/bin/tool", "usr/lib/x86_64-linux-gnu/libx.so.1", "etc/x"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o4755, Size: 1}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("x"))
	}
	w.Close()
	p, wait := nativeTools("amd64", &out)
	if _, err := io.Copy(p, &in); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	var names []string
	r := tar.NewReader(&out)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode&0o7000 != 0 {
			t.Errorf("%s is setuid", h.Name)
		}
		names = append(names, h.Name)
	}
	if len(names) != 4 {
		t.Errorf("%q, want two directories and two files", names)
	}
	// An input that is cut short is an error, not a hang.
	p, wait = nativeTools("amd64", io.Discard)
	p.Write([]byte("not a tar"))
	p.Close()
	if wait() == nil {
		t.Error("no error for half a header")
	}
}
