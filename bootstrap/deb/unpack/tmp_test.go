package unpack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"golang.org/x/sync/errgroup"
)

func TestTmp(t *testing.T) {
	fs, _ := filepath.Glob("/tmp/unpackw/debs12/*.deb")
	start := time.Now()
	u, err := New(Options{Arch: "amd64", MergedUsr: true, Epoch: time.Unix(1790000000, 0), SpoolDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	var g errgroup.Group
	g.SetLimit(2)
	for _, f := range fs {
		g.Go(func() error { return u.Add(context.Background(), Package{}, f) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("unpacked", time.Since(start))
	out, _ := os.Create("/tmp/unpackw/out.tar.gz")
	tarf, _ := os.Create("/tmp/unpackw/out.tar")
	h := sha256.New()
	z := oci.NewGzipWriter(out)
	ws := []io.Writer{h, z}
	if os.Getenv("TARTOO") != "" {
		ws = append(ws, tarf)
	}
	w := bufio.NewWriterSize(io.MultiWriter(ws...), 256<<10)
	s, err := u.Finish(context.Background(), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Flush()
	z.Close()
	fmt.Printf("all %v %x\n%+v\n", time.Since(start), h.Sum(nil), s)
}
