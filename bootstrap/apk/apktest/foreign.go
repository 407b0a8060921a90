// Package apktest has packages for an architecture that is foreign to most machines
// that tests run on.
package apktest

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
)

// Foreign are packages for aarch64: Alpine's own that hold no programs, and Debian's
// static busybox in place of Alpine's busybox and C library.
func Foreign(t testing.TB) []apkrepo.Pkg {
	t.Helper()
	var out []apkrepo.Pkg
	for _, p := range apkrepo.Alpine(t) {
		switch p.Name {
		case "alpine-baselayout":
			p.Depends, p.Provides = []string{"/bin/sh"}, nil
			p.Files = slices.DeleteFunc(p.Files, func(e apkrepo.Entry) bool { return e.Name == "sbin/mkmntdirs" })
		case "alpine-keys":
		case "busybox":
			p.Depends = nil
			for i := range p.Files {
				if p.Files[i].Name == "bin/busybox" {
					p.Files[i].Data = staticBusybox(t)
				}
			}
		default:
			continue
		}
		p.Arch = "aarch64"
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b apkrepo.Pkg) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// staticBusybox is /bin/busybox of Debian's busybox-static for arm64.
func staticBusybox(t testing.TB) []byte {
	t.Helper()
	testneed.Program(t, "dpkg-deb")
	st := archivetest.Machine(t)
	http, err := archive.HTTPFor(st)
	if err != nil {
		t.Fatal(err)
	}
	c := &archive.Client{HTTP: http, CacheDir: t.TempDir()}
	_, pkgs, err := c.Load(context.Background(), archivetest.Debian("bookworm")[:1], st, "arm64", time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(pkgs, func(p *archive.Package) bool { return p.Name == "busybox-static" })
	if i < 0 {
		t.Fatal("Debian has no busybox-static for arm64")
	}
	var data []byte
	err = c.Fetch(context.Background(), pkgs[i:i+1], nil, func(_ *archive.Package, path string) error {
		files, err := exec.Command("dpkg-deb", "--fsys-tarfile", path).Output()
		if err != nil {
			return err
		}
		for r := tar.NewReader(bytes.NewReader(files)); ; {
			h, err := r.Next()
			if err != nil {
				return err
			}
			if path := strings.TrimPrefix(h.Name, "./"); path == "bin/busybox" || path == "usr/bin/busybox" {
				data, err = io.ReadAll(r)
				return err
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
