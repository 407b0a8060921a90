package sif

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// An image without a shell, whose other run script moves the file system.
func TestMovedFileSystem(t *testing.T) {
	content := make([]byte, 300<<10)
	rnd := rand.New(rand.NewPCG(7, 8))
	for i := range content {
		content[i] = byte(rnd.Uint32())
	}
	layer := archive(t, []entry{reg("content", string(content))})
	for n := 0; ; n += 20 {
		if n > 8192 {
			t.Fatal("nothing moves it")
		}
		l, d := image(t, v1.Image{Config: v1.ImageConfig{Labels: map[string]string{"padding": strings.Repeat("x", n)}}}, layer)
		_, c, err := l.Image(d)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Epoch: stamp}
		var at [2]int64
		for i, shell := range []bool{true, false} {
			a, err := added(c, d, o, shell)
			if err != nil {
				t.Fatal(err)
			}
			if at[i], err = place(a, "amd64", o); err != nil {
				t.Fatal(err)
			}
		}
		if at[0] == at[1] {
			continue
		}
		path, _ := converted(t, l, d, o)
		i, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		if p := i.Objects[3]; p.Offset != at[1] {
			t.Errorf("the file system is at %d, want %d", p.Offset, at[1])
		}
		if _, err := i.Verify(context.Background()); err != nil {
			t.Error(err)
		}
		fs, err := i.FS()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := fs.ReadFile("content", 1<<20); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		return
	}
}

func TestMove(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdefghijklm"), 150_000) // several pieces
	for _, to := range []int64{4096, 8192, 12288, 16 << 20} {
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := &placed{f: f, at: 8192, size: int64(len(content))}
		if _, err := p.WriteAt(content, 0); err != nil {
			t.Fatal(err)
		}
		if err := p.move(context.Background(), to); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if p.at != to || !bytes.Equal(got, append(make([]byte, to), content...)) {
			t.Errorf("moved to %d: at %d, %d bytes", to, p.at, len(got))
		}
	}
}
