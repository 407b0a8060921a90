package pipelines

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	amd64 = Platform{OS: "linux", Architecture: "amd64"}
	arm64 = Platform{OS: "linux", Architecture: "arm64"}
)

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "x86_64": "linux/amd64", "linux/amd64/v1": "linux/amd64", "linux/amd64/v3": "linux/amd64/v3",
		"aarch64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "armhf": "linux/arm/v7", "linux/arm": "linux/arm/v7",
		"linux/arm/v6": "linux/arm/v6", "armel": "linux/arm/v5", "i386": "linux/386", "ppc64el": "linux/ppc64le",
		"s390x": "linux/s390x", "LINUX/RISCV64": "linux/riscv64", "mips64el": "linux/mips64le",
	} {
		got, err := ParsePlatform(in)
		if err != nil || got.String() != want {
			t.Errorf("%q: %v %v, want %s", in, got, err, want)
		}
		if again, err := ParsePlatform(got.String()); err != nil || again != got {
			t.Errorf("%q: String does not come back: %v %v", in, again, err)
		}
	}
	for _, in := range []string{"", "/", "linux/", "windows/amd64", "linux/vax", "linux/arm/v9", "linux/s390x/v1", "linux/amd64/", "a/b/c/d"} {
		_, err := ParsePlatform(in)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", in, err)
		}
	}
}

func base() Image { return From(amd64, Pull{Ref: "docker.io/library/debian:12"}) }

func graph(t *testing.T, i Image) Graph {
	t.Helper()
	g, err := i.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestIdentity(t *testing.T) {
	a := graph(t, base().Then(Run{Shell: "true"}, Configure{Env: map[string]string{"A": "1", "B": "2"}}))
	b := graph(t, base().
		Then(Run{Shell: "true", Name: "other name", Timeout: time.Hour}).
		Then(Configure{Env: map[string]string{"B": "2", "A": "1"}}))
	if a.ID() != b.ID() {
		t.Error("names, time-outs, lines or map order are part of the identity")
	}
	for name, other := range map[string]Image{
		"another command":  base().Then(Run{Shell: "false"}, Configure{Env: map[string]string{"A": "1", "B": "2"}}),
		"another order":    base().Then(Configure{Env: map[string]string{"A": "1", "B": "2"}}, Run{Shell: "true"}),
		"another platform": From(arm64, Pull{Ref: "docker.io/library/debian:12"}).Then(Run{Shell: "true"}, Configure{Env: map[string]string{"A": "1", "B": "2"}}),
		"no network":       base().Then(Run{Shell: "true", Network: NetworkNone}, Configure{Env: map[string]string{"A": "1", "B": "2"}}),
	} {
		if graph(t, other).ID() == a.ID() {
			t.Errorf("%s has the same identity", name)
		}
	}
}

func TestPathsOfPinnedSourcesAreNotIdentity(t *testing.T) {
	d := "sha256:" + strings.Repeat("0", 64)
	if graph(t, From(amd64, Layout{Path: "/a", Digest: d})).ID() != graph(t, From(amd64, Layout{Path: "/b", Digest: d})).ID() {
		t.Error("the place of a layout is part of the identity")
	}
	if graph(t, From(amd64, Local{Path: "/a"})).ID() == graph(t, From(amd64, Local{Path: "/b"})).ID() {
		t.Error("two unpinned directories are the same")
	}
}

func TestSharedNodesAppearOnce(t *testing.T) {
	b := base().Then(Run{Shell: "make"})
	g := graph(t, From(amd64, Scratch{}).Then(
		Copy{From: b, Src: []string{"/x"}, Dst: "/x"},
		Copy{From: b, Src: []string{"/y"}, Dst: "/y"}))
	if len(g.Nodes) != 5 {
		t.Fatalf("%d nodes, want pull, run, scratch and two copies", len(g.Nodes))
	}
	seen := map[string]bool{}
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			if !seen[in] {
				t.Errorf("%s comes before its input", n.Name)
			}
		}
		seen[n.ID] = true
	}
	if g.Base().Op.kind() != "scratch" {
		t.Errorf("base is %s", g.Base().Name)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	local := From(amd64, Local{Path: "/src", Exclude: []string{".git"}})
	g := graph(t, base().Then(
		Run{Shell: "apt-get update", Secrets: []Secret{{ID: "token"}}, Caches: []CacheMount{{Target: "/var/cache"}}, Timeout: time.Minute},
		Copy{From: local, Src: []string{"."}, Dst: "/src"}, File{Path: "/etc/x", Data: []byte{0, 1, 255}, Mode: 0o4755},
		Remove{Paths: []string{"/tmp/*"}}, Configure{Cmd: []string{"sh"}}))
	b, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var back Graph
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(back)
	if string(b) != string(again) {
		t.Errorf("not the same:\n%s\n%s", b, again)
	}
	bad := strings.Replace(string(b), `"shell":"apt-get update"`, `"shell":"apt-get upgrade"`, 1)
	if err := json.Unmarshal([]byte(bad), &back); err == nil {
		t.Error("a changed node kept its ID")
	}
}

func TestMapReplacesABootstrap(t *testing.T) {
	img := From(amd64, Bootstrap{Method: "deb", Sources: []PackageSource{{Repository: "debian", Suite: "bookworm"}}}).
		Then(Run{Name: "mine", Shell: "true", Timeout: time.Second})
	g := graph(t, img)
	d := "sha256:" + strings.Repeat("1", 64)
	low, err := g.Map(func(n Node) ([]Op, error) {
		if _, ok := n.Op.(Bootstrap); ok {
			return []Op{Layout{Path: "/cache/x", Digest: d}, Run{Shell: "dpkg --configure -a"}, Run{Shell: "rm -rf /var/log"}}, nil
		}
		return []Op{n.Op}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for i, n := range low.Nodes {
		kinds = append(kinds, n.Op.kind())
		if i > 0 && (len(n.Inputs) != 1 || n.Inputs[0] != low.Nodes[i-1].ID) {
			t.Errorf("node %d does not stand on the one before", i)
		}
		if n.ID != n.identity() {
			t.Errorf("node %d has a stale ID", i)
		}
	}
	if got := strings.Join(kinds, " "); got != "layout run run run" {
		t.Errorf("nodes: %s", got)
	}
	// A lowered graph goes to a child process as JSON.
	b, err := json.Marshal(low)
	if err != nil {
		t.Fatal(err)
	}
	var back Graph
	if err := json.Unmarshal(b, &back); err != nil {
		t.Error(err)
	}
	last := low.Result()
	if last.Name != "run mine" || last.Timeout != int64(time.Second) {
		t.Errorf("the author's step lost its name or time-out: %+v", last)
	}
}

func TestMounts(t *testing.T) {
	tools := From(arm64, Pull{Ref: "docker.io/library/tools:1"})
	g := graph(t, base().Then(Run{Shell: "x", Mounts: []Mount{{From: tools, Src: "/a", Target: "/a"}}}))
	if len(g.Nodes) != 3 || len(g.Result().Inputs) != 2 || g.Base().Op.kind() != "pull" || g.Base().Platform != amd64 {
		t.Fatalf("%+v", g)
	}
	other := graph(t, base().Then(Run{Shell: "x", Mounts: []Mount{{From: base(), Src: "/a", Target: "/a"}}}))
	if other.ID() == g.ID() {
		t.Error("what is mounted is not part of the identity")
	}
	// A replacement may bring an image of its own.
	boot := graph(t, From(amd64, Bootstrap{Method: "deb", Sources: []PackageSource{{Repository: "debian", Suite: "s"}}}))
	low, err := boot.Map(func(Node) ([]Op, error) {
		return []Op{Scratch{}, Run{Shell: "configure", Mounts: []Mount{{From: tools, Src: "/a", Target: "/b"}}}}, nil
	})
	if err != nil || len(low.Nodes) != 3 || low.Result().Name != "run configure" || len(low.Result().Inputs) != 2 {
		t.Fatalf("%v %+v", err, low)
	}
	_, err = base().Then(Run{Shell: "x", Mounts: []Mount{{Src: "/a", Target: "/b"}}}).Graph()
	if err == nil || !strings.Contains(err.Error(), "a mount has no image") {
		t.Errorf("%v", err)
	}
}

func TestErrorsNameTheAuthorsLine(t *testing.T) {
	other := From(arm64, Scratch{})
	for want, img := range map[string]Image{
		"needs exactly one of Shell and Args":    base().Then(Run{}),
		"not absolute":                           base().Then(File{Path: "etc/x"}),
		"holds a .. element":                     base().Then(Remove{Paths: []string{"/a/../b"}}),
		"is the root":                            base().Then(Remove{Paths: []string{"/"}}),
		"is the image's own":                     base().Then(Run{Shell: "x", Roots: []string{"/."}}),
		`root "target" is not`:                   base().Then(Run{Shell: "x", Roots: []string{"target"}}),
		"has no image to copy from":              base().Then(Copy{Src: []string{"a"}, Dst: "/a"}),
		"stands on an empty image":               Image{}.Then(Run{Shell: "x"}),
		"is not an image reference":              From(amd64, Pull{Ref: "https://x/y"}),
		"more than permission bits":              base().Then(File{Path: "/x", Mode: 0o100644}),
		"not uid:gid in numbers":                 base().Then(File{Path: "/x", Owner: "root:root"}),
		"network \"bridge\" is unknown":          base().Then(Run{Shell: "x", Network: "bridge"}),
		"\"A-B\" is not a variable name":         base().Then(Run{Shell: "x", Env: map[string]string{"A-B": ""}}),
		"has no suite":                           From(amd64, Bootstrap{Method: "deb", Sources: []PackageSource{{Repository: "debian"}}}),
		"is not a package name":                  From(amd64, Bootstrap{Method: "deb", Sources: []PackageSource{{Repository: "debian", Suite: "x"}}, Include: []string{"a;b"}}),
		`"NetworkManager" is not a package name`: From(amd64, Bootstrap{Method: "deb", Sources: []PackageSource{{Repository: "debian", Suite: "x"}}, Include: []string{"NetworkManager"}}),
		`"a/../b" is not a package name`:         From(amd64, Bootstrap{Method: "rpm", Sources: []PackageSource{{Repository: "rocky", Suite: "x"}}, Include: []string{"a/../b"}}),
		`"-y" is not a package name`:             From(amd64, Bootstrap{Method: "apk", Sources: []PackageSource{{Repository: "alpine", Suite: "x"}}, Exclude: []string{"-y"}}),
		"to a destination that is not a direct":  base().Then(Copy{From: other, Src: []string{"/a", "/b"}, Dst: "/c"}),
	} {
		_, err := img.Graph()
		var inv *InvalidError
		if !errors.As(err, &inv) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
			continue
		}
		if filepath.Base(inv.Where.File) != "pipelines_test.go" || inv.Where.Line == 0 {
			t.Errorf("%v: position is %v, not the author's line", err, inv.Where)
		}
	}
}

func TestTargets(t *testing.T) {
	p := Pipeline{Targets: []Target{{Name: "debian12", Aliases: []string{"bookworm"}, Build: func(p Platform) Image { return From(p, Scratch{}) }}}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Target("bookworm"); err != nil || got.Name != "debian12" {
		t.Errorf("alias: %v %v", got.Name, err)
	}
	_, err := p.Target("debain12")
	var inv *InvalidError
	if !errors.As(err, &inv) || !strings.Contains(inv.Hint(), "did you mean debian12?") {
		t.Errorf("misspelt: %v", err)
	}
	p.Targets = append(p.Targets, Target{Name: "bookworm", Build: p.Targets[0].Build})
	if err := p.Check(); err == nil || !strings.Contains(err.Error(), "defined twice") {
		t.Errorf("twice: %v", err)
	}
	wrong := Target{Name: "x", Build: func(Platform) Image { return From(arm64, Scratch{}) }}
	if _, err := NewJob(wrong, amd64); !errors.Is(err, ErrInvalid) {
		t.Errorf("a Build that ignores its platform: %v", err)
	}
}

func TestPrintAndDot(t *testing.T) {
	g := graph(t, From(amd64, Scratch{}).Then(Copy{From: base().Then(Run{Shell: "\n# comment\nmake all\n"}), Src: []string{"/x"}, Dst: "/x"}))
	var b strings.Builder
	if err := g.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"run make all", "← 1, 3", "pipelines_test.go:"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("print lacks %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := g.Dot(&b); err != nil || strings.Count(b.String(), "->") != 3 {
		t.Errorf("dot: %v\n%s", err, b.String())
	}
}

// A program of another module compiles against the light rooms with no tag.
func TestForeignModuleNeedsNoTags(t *testing.T) {
	cmd := exec.Command("go", "build", "github.com/cfbuild/cfbuild/pipelines")
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// An image that a recipe refused has the line it was made on where none is given.
func TestInvalid(t *testing.T) {
	_, err := Invalid(HostPlatform(), InvalidError{What: "recipe x", Cause: "cannot be"}).Then(Run{Shell: "true"}).Graph()
	if err == nil || !strings.Contains(err.Error(), "pipelines/pipelines_test.go:") || !strings.HasSuffix(err.Error(), ": recipe x: cannot be") {
		t.Errorf("got %v", err)
	}
}

func TestPackageNames(t *testing.T) {
	for method, names := range map[string][]string{
		"deb": {"libstdc++6", "0ad", "gcc-12-base", "libc6:arm64"},
		"rpm": {"NetworkManager", "gtk2", "libstdc++", "perl-Test_Base", "python3.12", "glibc.i686", "_x"},
		"apk": {"libstdc++", "py3-Jinja2", "ca-certificates", "font_x"},
	} {
		img := From(amd64, Bootstrap{Method: method, Sources: []PackageSource{{Repository: "r", Suite: "x"}}, Include: names})
		if _, err := img.Graph(); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
}
