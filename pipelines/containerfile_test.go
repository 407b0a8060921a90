package pipelines_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	. "github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// everything uses each operation and each of its fields.
func everything() Image {
	p := Platform{OS: "linux", Architecture: "amd64"}
	tools := From(p, Pull{Ref: "docker.io/library/golang:1"}).Then(Run{Args: []string{"go", "build", "-o", "/out/tool"}, Env: map[string]string{"CGO_ENABLED": "0"}})
	foreign := From(Platform{OS: "linux", Architecture: "arm64"}, Layout{Path: "/data/layout", Digest: "sha256:" + strings.Repeat("a", 64)})
	return From(p, Bootstrap{Method: "deb", Variant: "minbase", Include: []string{"git"}, Exclude: []string{"e2fsprogs"},
		Sources: []PackageSource{{Repository: "debian", Suite: "bookworm", Components: []string{"main"}}}}).Then(
		File{Path: "/etc/text", Data: []byte("EOF\n$HOME 'x'\n"), Mode: 0o600, Owner: "1:2"},
		File{Path: "/etc/a file", Data: []byte("x\n")},
		File{Path: "/etc/noeol", Data: []byte("x")},
		File{Path: "/etc/bin", Data: []byte{0, 1, 2}},
		File{Path: "/opt/dir", Dir: true, Mode: 0o1777}, File{Path: "/opt/link", Link: "dir"},
		Run{Shell: "echo 'it''s' $HOME\nexit 0", Env: map[string]string{"LC_ALL": "it's"}, Network: NetworkNone, User: "nobody", Dir: "/opt",
			Secrets: []Secret{{ID: "token", Mode: 0o400}, {ID: "key", Env: "KEY", Optional: true}}, Caches: []CacheMount{{Target: "/var/cache/x", ID: "x"}},
			Mounts: []Mount{{From: foreign, Src: "/bin", Target: "/native"}}},
		Copy{From: tools, Src: []string{"/out/tool", "/out/b"}, Dst: "/usr/local/bin/", Owner: "0:0", Mode: 0o755},
		Copy{From: From(p, Local{Path: "/data/files"}), Src: []string{"/"}, Dst: "/srv/"},
		Remove{Paths: []string{"/var/cache/*", "/tmp/x"}},
		Configure{Env: map[string]string{"A": `say "$x" \n`}, Labels: map[string]string{"org.opencontainers.image.title": "a title"}, Entrypoint: []string{"/bin/sh", "-c"},
			Cmd: []string{"a b"}, User: "nobody", WorkingDir: "/srv", StopSignal: "SIGTERM", Volumes: []string{"/data"}, ExposedPorts: []string{"80/tcp"}, Author: "a\nb"},
		Run{Shell: "true", User: "root"})
}

func parse(t *testing.T, text []byte) []instructions.Stage {
	t.Helper()
	r, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	stages, _, err := instructions.Parse(r.AST, linter.New(&linter.Config{}))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return stages
}

// BuildKit's own parser takes what Containerfile writes, and finds the same
// stages, commands and values in it.
func TestContainerfile(t *testing.T) {
	g, err := everything().Graph()
	if err != nil {
		t.Fatal(err)
	}
	for i := range g.Nodes {
		g.Nodes[i].Where = Position{}
	}
	var b bytes.Buffer
	if err := g.Containerfile(&b); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "containerfile.golden", b.Bytes())
	stages := parse(t, b.Bytes())
	var bases, names []string
	for _, s := range stages {
		bases = append(bases, s.BaseName)
		names = append(names, s.Name)
	}
	if len(stages) != 3 || names[2] != "" || bases[2] != "scratch" {
		t.Fatalf("stages %q on %q", names, bases)
	}
	counts := map[string]int{}
	for _, c := range stages[2].Commands {
		counts[c.Name()]++
		switch c := c.(type) {
		case *instructions.CopyCommand:
			for _, s := range c.SourceContents {
				if c.DestPath == "/etc/text" && s.Data != "EOF\n$HOME 'x'\n" {
					t.Errorf("content %q", s.Data)
				}
			}
		case *instructions.EnvCommand:
			if got := c.Env[0].String(); got != `A="say \"\$x\" \\n"` {
				t.Errorf("env %s", got)
			}
		case *instructions.EntrypointCommand:
			if b, _ := json.Marshal(c.CmdLine); string(b) != `["/bin/sh","-c"]` {
				t.Errorf("entrypoint %s", b)
			}
		}
	}
	for name, want := range map[string]int{"COPY": 4, "RUN": 7, "ENV": 1, "LABEL": 1, "USER": 5, "WORKDIR": 3, "CMD": 1, "VOLUME": 1, "EXPOSE": 1, "STOPSIGNAL": 1} {
		if counts[name] != want {
			t.Errorf("%d %s, want %d", counts[name], name, want)
		}
	}
}
