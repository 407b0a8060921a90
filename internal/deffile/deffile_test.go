package deffile

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/golden"
	. "github.com/cfbuild/cfbuild/pipelines"
)

var amd64 = Platform{OS: "linux", Architecture: "amd64"}

func mirrors(repo string) []string {
	return map[string][]string{"debian": {"https://near.example/debian/", "http://far.example/debian"}, "debian-security": {"https://near.example/debian-security"},
		"centos-stream": {"https://near.example/centos-stream"}}[repo]
}

func debian(include ...string) Bootstrap {
	return Bootstrap{Method: "deb", Variant: "minbase", Include: include, Sources: []PackageSource{{Repository: "debian", Suite: "bookworm", Components: []string{"main"}},
		{Repository: "debian-security", Suite: "bookworm-security"}, {Repository: "own", Suite: "x", Mirrors: []string{"http://own.example/apt/"}, AllowExpired: true}}}
}

// everything that a definition can say.
func everything() Image {
	tools := From(amd64, Pull{Ref: "docker.io/library/golang:1"}).Then(Run{Args: []string{"go", "build", "-o", "/out/tool"}, Env: map[string]string{"CGO_ENABLED": "0"}})
	return From(amd64, debian("git")).Then(
		File{Path: "/etc/text", Data: []byte("EOF\n$HOME 'x'\n"), Mode: 0o600, Owner: "1:2"},
		File{Path: "/etc/a 'file'", Data: []byte("x")},
		File{Path: "/etc/rpmrc", Data: []byte("  %_dbpath /x\n")},
		File{Path: "/etc/template", Data: []byte("{{ name }}\n")},
		File{Path: "/etc/empty"},
		File{Path: "/opt/dir", Dir: true, Mode: 0o1777}, File{Path: "/opt/link", Link: "dir"},
		Run{Shell: "echo 'it''s' $HOME\nexit 0", Env: map[string]string{"LC_ALL": "it's\n%post\n"}, User: "nobody", Dir: "/opt", Network: NetworkNone},
		Run{Shell: "bootstrap: x\n"},
		Copy{From: tools, Src: []string{"/out/tool", "/out/b*"}, Dst: "/usr/local/bin/", Owner: "0:0", Mode: 0o755},
		Copy{From: tools, Src: []string{"/out/tool"}, Dst: "/opt/renamed"},
		Copy{From: From(amd64, Local{Path: "/data/files"}), Src: []string{"/"}, Dst: "/srv/"},
		Remove{Paths: []string{"/var/cache/*", "/tmp/x y"}},
		Configure{Env: map[string]string{"A": `say "$x" \n`}, Labels: map[string]string{"org.opencontainers.image.title": "a title"},
			Entrypoint: []string{"/bin/sh", "-c"}, Cmd: []string{"it's b"}, Author: "a\nb"})
}

func lower(t *testing.T, i Image, o Options) (Definition, error) {
	t.Helper()
	g, err := i.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for i := range g.Nodes {
		g.Nodes[i].Where.File = "recipe/x.go"
		g.Nodes[i].Where.Line = 1
	}
	o.Mirrors = mirrors
	return Lower(g, o)
}

func text(t *testing.T, d Definition) string {
	t.Helper()
	var b bytes.Buffer
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, i := range map[string]Image{
		"everything": everything(),
		"yum": From(amd64, Bootstrap{Method: "rpm", Include: []string{"dnf"}, Sources: []PackageSource{{Repository: "centos-stream", Suite: "9-stream/BaseOS/$basearch/os"},
			{Repository: "centos-stream", Suite: "9-stream/AppStream/$basearch/os"}}}),
		"scratch": From(amd64, Scratch{}).Then(File{Path: "/etc/x", Data: []byte("x\n")}, Configure{Cmd: []string{"/x"}}),
		"layout":  From(amd64, Layout{Path: "/data/layout"}),
	} {
		d, err := lower(t, i, Options{Help: "About " + name, Tests: []Test{TestFile{Path: "/etc/x"}, TestFile{Path: "/no", Absent: true},
			TestPackage{Name: "git"}, TestPackage{Name: "sudo", Absent: true}, TestCommand{Args: []string{"true"}}, TestCommand{Shell: "x", ExitCode: 1}}})
		if err != nil {
			t.Fatal(err)
		}
		got := text(t, d)
		golden.Check(t, name+".def", []byte(got))
		for _, s := range d.Stages {
			for _, script := range []string{s.Setup.b.String(), s.Post.b.String(), s.Test} {
				c := exec.Command("sh", "-n")
				c.Stdin = strings.NewReader(script)
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s\n%s", name, err, out, script)
				}
			}
		}
	}
}

// Apptainer takes no section of 64 KiB, however many headings there are.
func TestLongSectionsAreCut(t *testing.T) {
	d, err := lower(t, From(amd64, Pull{Ref: "x"}).Then(File{Path: "/a", Data: bytes.Repeat([]byte("0123456789\n"), 30000)}, File{Path: "/b", Data: bytes.Repeat([]byte("x"), 200000)}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(text(t, d), "\n%") {
		if len(part) > 60<<10 {
			t.Errorf("section %d has %d bytes", i, len(part))
		}
	}
}

func TestUnsupported(t *testing.T) {
	pull := From(amd64, Pull{Ref: "x"})
	foreign := From(Platform{OS: "linux", Architecture: "arm64"}, Pull{Ref: "y"})
	for want, i := range map[string]Image{
		"has no build secrets":                          pull.Then(Run{Shell: "x", Secrets: []Secret{{ID: "t"}}}),
		"has no cache mounts":                           pull.Then(Run{Shell: "x", Caches: []CacheMount{{Target: "/c"}}}),
		"cannot show files of another image":            pull.Then(Run{Shell: "x", Mounts: []Mount{{From: pull, Src: "/a", Target: "/b"}}}),
		"cannot give a root below":                      pull.Then(Run{Shell: "x", Roots: []string{"/r"}}),
		"cannot run a step as 12:13":                    pull.Then(Run{Shell: "x", User: "12:13"}),
		"this copies from linux/arm64":                  pull.Then(Copy{From: foreign, Src: []string{"/a"}, Dst: "/b"}),
		"has no bootstrap agent for method apk":         From(amd64, Bootstrap{Method: "apk", Include: []string{"apk-tools"}, Sources: []PackageSource{{Repository: "debian", Suite: "v3"}}}),
		`needs the URL of repository "nowhere"`:         From(amd64, Bootstrap{Method: "deb", Sources: []PackageSource{{Repository: "nowhere", Suite: "x"}}}),
		"cannot make variant standard":                  From(amd64, Bootstrap{Method: "deb", Variant: "standard", Sources: []PackageSource{{Repository: "debian", Suite: "x"}}}),
		"only make files and directories in an empty":   From(amd64, Scratch{}).Then(File{Path: "/a", Link: "/"}),
		`cannot have "{{ x }}" in a variable`:           pull.Then(Configure{Env: map[string]string{"A": "{{ x }}"}}),
		`cannot have the label "a"`:                     pull.Then(Configure{Labels: map[string]string{"a": "b\nc"}}),
		`cannot have "{{ x }}" in a name`:               pull.Then(File{Path: "/etc/{{ x }}"}),
		"cannot choose files of a directory by pattern": pull.Then(Copy{From: From(amd64, Local{Path: "/d", Include: []string{"*.x"}}), Src: []string{"/"}, Dst: "/b"}),
	} {
		_, err := lower(t, i, Options{})
		var no *builders.UnsupportedError
		if !errors.As(err, &no) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "recipe/x.go:1: ") || no.Hint() == "" {
			t.Errorf("%v, want %q at the author's line, with a hint", err, want)
		}
	}
}
