package sif

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// An image that has one static program and no shell.
func TestNoShell(t *testing.T) {
	program := apptainer(t)
	user := testneed.User(t)
	raw, err := os.ReadFile(testneed.Program(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	bin := reg("app/busybox", string(raw))
	bin.Mode = 0o755
	l, d := image(t, v1.Image{Config: v1.ImageConfig{Entrypoint: []string{"/app/busybox", "echo", "a b"}, Cmd: []string{"$c", "d"}}},
		archive(t, []entry{dir("app"), bin}))
	path, _ := converted(t, l, d, Options{})
	moved := filepath.Join(shared(t), "image.sif")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	for _, who := range []*testneed.Account{nil, &user} {
		run := func(want, command string, args ...string) {
			t.Helper()
			if who == nil {
				args = append([]string{"--no-privs"}, args...)
			}
			if got := as(t, who, program, append([]string{"-q", command}, args...)...); got != want {
				t.Errorf("%s %q: %q, want %q", command, args, got, want)
			}
		}
		run("a b $c d\n", "run", moved)
		run("a b other words\n", "run", moved, "other words")
		run("hello\n", "exec", moved, "/app/busybox", "echo", "hello")
	}
}
