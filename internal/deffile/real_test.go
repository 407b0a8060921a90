package deffile

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	. "github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
	"github.com/cfbuild/cfbuild/site"
)

// build runs plain apptainer build as root in a user namespace that maps each owner to
// itself, and gives what it said.
func build(t *testing.T, d Definition) (sif, said string, err error) {
	t.Helper()
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	dir := t.TempDir()
	def := filepath.Join(dir, "x.def")
	if err := os.WriteFile(def, []byte(text(t, d)), 0o644); err != nil {
		t.Fatal(err)
	}
	sif = filepath.Join(dir, "x.sif")
	cmd := exec.Command(program, "build", sif, def)
	// rpm's database is where the distributions have it, not where Debian's rpm has it.
	if err := os.WriteFile(filepath.Join(dir, ".rpmmacros"), []byte("%_var /var\n%_dbpath %{_var}/lib/rpm\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir, "APPTAINER_CACHEDIR="+dir)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	err = cmd.Run()
	return sif, b.String(), err
}

// tail is the end of what a build said.
func tail(s string) string { return s[max(0, len(s)-3000):] }

// The definition of debian12, built from this machine's mirror by Apptainer alone: each
// step does what it says, and the image's own tests, which are its %test, pass.
func TestRealDebian(t *testing.T) {
	testneed.Program(t, "debootstrap")
	host, err := site.Load("host", site.LoadOptions{Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	target, err := recipes.Pipeline(host).Target("debian12")
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	if err := os.Mkdir(filepath.Join(tree, "d"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"d/one": "", "d/link": "one"} {
		if to != "" {
			err = os.Symlink(to, filepath.Join(tree, name))
		} else {
			err = os.WriteFile(filepath.Join(tree, name), []byte("1\n"), 0o640)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	odd := "EOF\n%post\nexit 1\n{{ debian }}\nBootstrap: x\r\n\x01\xff"
	i := target.Build(amd64).Then(
		File{Path: "/opt/a/odd", Data: []byte(odd), Mode: 0o4750, Owner: "33:12"},
		File{Path: "/opt/big", Data: bytes.Repeat([]byte("0123456789\n"), 20000)},
		File{Path: "/opt/link", Link: "a/odd"},
		Run{Shell: "test \"$(id -un) $PWD $V\" = \"nobody /opt it's\n%x\n\"", User: "nobody", Dir: "/opt", Env: map[string]string{"V": "it's\n%x\n"}},
		Run{Shell: "test \"$(tail -n +3 /proc/net/dev | wc -l)\" = 1", Network: NetworkNone},
		Copy{From: From(amd64, Local{Path: tree}), Src: []string{"/"}, Dst: "/srv/new"},
		Copy{From: From(amd64, Local{Path: tree}), Src: []string{"/d/o*"}, Dst: "/srv/", Owner: "1:2", Mode: 0o711},
		Remove{Paths: []string{"/opt/b*"}},
		Configure{Entrypoint: []string{"/bin/echo", "it's"}, Cmd: []string{"$me"}, Env: map[string]string{"GREETING": "it's $x"}})
	g, err := i.Graph()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Lower(g, Options{Mirrors: host.URLs, Help: "About it.", Tests: append(target.Tests,
		TestCommand{Shell: `test "$(stat -c '%a %u:%g' /opt/a/odd /srv/new/d /srv/new/d/one /srv/one)" = "4750 33:12
750 0:0
640 0:0
711 1:2"`},
		TestFile{Path: "/opt/link", Link: "a/odd"}, TestFile{Path: "/srv/new/d/link", Link: "one"}, TestFile{Path: "/opt/big", Absent: true})})
	if err != nil {
		t.Fatal(err)
	}
	sif, said, err := build(t, d)
	if err != nil {
		t.Fatalf("apptainer build: %v\n%s", err, tail(said))
	}
	if !strings.Contains(said, "Running testscript") {
		t.Errorf("no tests were run\n%s", tail(said))
	}
	for want, args := range map[string][]string{
		odd:                  {"exec", "--no-privs", sif, "cat", "/opt/a/odd"},
		"it's $me\n":         {"run", "--no-privs", sif},
		"it's other words\n": {"run", "--no-privs", sif, "other words"},
		"it's $x\n":          {"exec", "--no-privs", sif, "sh", "-c", `echo "$GREETING"`},
		"About it.\n":        {"run-help", sif},
		"12\n":               {"exec", "--no-privs", sif, "sh", "-c", ". /etc/os-release; echo $VERSION_ID"},
	} {
		cmd := exec.Command(testneed.Apptainer(t, "../../scripts/apptainer"), append([]string{"-q"}, args...)...)
		cmd.Dir, cmd.Env = "/", append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.Output()
		if string(out) != want && string(out) != want+"\n" {
			t.Errorf("%q: %q %v, want %q", args, out, err, want)
		}
	}
}
