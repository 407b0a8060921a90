package apktest

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// programs are the busyboxes that a test process has fetched, by Debian's architecture.
var programs struct {
	sync.Mutex
	by map[string][]byte
}

// busybox is the program of Debian's busybox-static for one of Debian's architectures.
func busybox(t testing.TB, arch string) []byte {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	if programs.by[arch] == nil {
		if programs.by == nil {
			programs.by = map[string][]byte{}
		}
		programs.by[arch] = fetchBusybox(t, arch)
	}
	return programs.by[arch]
}

func fetchBusybox(t testing.TB, arch string) []byte {
	t.Helper()
	testneed.Program(t, "dpkg-deb")
	st := archivetest.Machine(t)
	http, err := archive.HTTPFor(st)
	if err != nil {
		t.Fatal(err)
	}
	c := &archive.Client{HTTP: http, CacheDir: t.TempDir()}
	_, pkgs, err := c.Load(context.Background(), archivetest.Debian("bookworm")[:1], st, arch, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(pkgs, func(p *archive.Package) bool { return p.Name == "busybox-static" })
	if i < 0 {
		t.Fatalf("Debian has no busybox-static for %s", arch)
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
