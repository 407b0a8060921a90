package lint

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/pipelines"
)

// For every rule a fault is planted somewhere in the tables.
func TestEveryRuleIsPlanted(t *testing.T) {
	tables := ""
	for _, name := range []string{"image_test.go", "definition_test.go", "reference_test.go", "planted_test.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tables += string(b)
	}
	f, err := parser.ParseFile(gotoken.NewFileSet(), "rules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != gotoken.CONST {
			continue
		}
		for _, s := range g.Specs {
			n++
			name := s.(*ast.ValueSpec).Names[0].Name
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(tables) {
				t.Errorf("no fault is planted for %s", name)
			}
		}
	}
	if n != len(Rules()) {
		t.Errorf("%d constants, %d rules", n, len(Rules()))
	}
}

func TestHugeLayer(t *testing.T) {
	f := rootfs.New(rootfs.Options{})
	f.Layers = []rootfs.Layer{{Bytes: 2 << 30, CreatedBy: "RUN make", Entries: []*rootfs.Entry{{Path: "/x", Type: rootfs.File}}}}
	i := &image{collector: newCollector("huge", amd64()), fs: f, made: make([][]pipelines.Node, 1)}
	i.layers()
	if len(i.out) != 1 || i.out[0].Rule != HugeLayer || !strings.Contains(i.out[0].Message, "2.0 GB") {
		t.Errorf("%+v", i.out)
	}
}

// Names that an image chose do not steer the terminal.
func TestControlCharacters(t *testing.T) {
	b := sound()
	b.add(entry{name: "opt/\x1b[2Jx\r\n\u202e", data: "x", mode: 0o666})
	b.config.Config.Labels["a\x1bb"] = "glpat" + "-" + letters(20)
	b.config.Config.User = "x\x07"
	fs := look(t, b, ImageOptions{})
	if len(fs) != 3 {
		t.Errorf("%+v", fs)
	}
	for _, f := range fs {
		if strings.ContainsAny(f.Message+f.Subject+f.Path+f.Step, "\x1b\r\n\x07\u202e") {
			t.Errorf("%q %q", f.Subject, f.Message)
		}
	}
}

// Many files of one directory are one finding.
func TestFold(t *testing.T) {
	b := sound()
	for _, n := range strings.Split("abcdefg", "") {
		b.add(entry{name: "opt/keys/" + n + ".pem", data: privateKey()})
	}
	fs := look(t, b, ImageOptions{})
	if len(fs) != 1 || fs[0].Subject != "/opt/keys" || !strings.Contains(fs[0].Message, "6 more in /opt/keys") {
		t.Errorf("%+v", fs)
	}
}

// Findings are the same in every run, whatever the line, the digest or the platform.
func TestFingerprints(t *testing.T) {
	one, two := sound(), sound()
	for i, b := range []*bad{one, two} {
		b.add(entry{name: "root/id", data: privateKey()}, entry{name: "usr/bin/sudo", data: "\x7fELF\x00", mode: 0o755})
		if i > 0 {
			b.config.Architecture = "arm64"
			b.add(entry{name: "opt/another", data: "x"})
		}
	}
	a, b := look(t, one, ImageOptions{}), look(t, two, ImageOptions{})
	if len(a) != 2 || len(b) != 2 || a[0].Fingerprint != b[0].Fingerprint || a[1].Fingerprint != b[1].Fingerprint || a[0].Layer == b[0].Layer {
		t.Errorf("%+v\n%+v", a, b)
	}
	both := Join(true, nil, append(a, b...))
	if len(both) != 2 || len(both[0].Platforms) != 2 || both[0].Platforms[0].Architecture != "amd64" {
		t.Errorf("%+v", both)
	}
}
