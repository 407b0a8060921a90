//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

var (
	platform = pipelines.Platform{OS: "linux", Architecture: "amd64"}
	epoch    = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// base is an image of one layer, always the same.
func base(t *testing.T) pipelines.Layout {
	t.Helper()
	l, err := oci.Create(t.TempDir())
	check(t, err)
	root := newDir(0o755, 0, 0)
	root.add("etc", newDir(0o755, 0, 0))
	d, err := pack(l, platform, epoch, root)
	check(t, err)
	var m v1.Manifest
	check(t, l.ReadJSON(d, &m))
	m.Config, err = l.PutJSON(v1.MediaTypeImageConfig, v1.Image{Platform: oci.ToPlatform(platform), RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{m.Layers[0].Digest}},
		Config: v1.ImageConfig{Env: []string{"PATH=/bin", "KEEP=base"}, WorkingDir: "/srv"}})
	check(t, err)
	d, err = l.PutJSON(v1.MediaTypeImageManifest, m)
	check(t, err)
	return pipelines.Layout{Path: l.Dir(), Digest: d.Digest.String()}
}

func localFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"app/main": 0o755, "app/sub/data": 0o640, "top.txt": 0o644} {
		p := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(p), 0o755))
		check(t, os.WriteFile(p, []byte(name), 0o600))
		check(t, os.Chmod(p, mode))
		check(t, os.Chmod(filepath.Dir(p), 0o755))
	}
	return dir
}

// lowerTo gives the definition of an image, without a daemon.
func lowerTo(t *testing.T, img pipelines.Image, change ...func(*builders.Request)) (*llb.Definition, error) {
	t.Helper()
	g, err := img.Graph()
	check(t, err)
	r := &builders.Request{Job: "job", Graph: g, Epoch: epoch}
	for _, f := range change {
		f(r)
	}
	packs, err := oci.Create(t.TempDir())
	check(t, err)
	l := newLowering(r, epoch, packs)
	l.show = func(*oci.Layout) {}
	final, err := builders.Lower(t.Context(), g, l)
	if err != nil {
		return nil, err
	}
	st, err := l.sealed(final)
	check(t, err)
	def, err := st.Marshal(t.Context())
	check(t, err)
	return def, nil
}

// readable writes a definition as one JSON document for each operation.
func readable(t *testing.T, def *llb.Definition) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, b := range def.Def {
		var op pb.Op
		check(t, op.UnmarshalVT(b))
		name, _, _ := strings.Cut(def.Metadata[digest.FromBytes(b)].Description["llb.customname"], mark) // keys have paths of directories in them
		raw, err := protojson.Marshal(&op)
		check(t, err)
		var v any
		check(t, json.Unmarshal(raw, &v))
		raw, err = json.MarshalIndent(v, "", "  ")
		check(t, err)
		fmt.Fprintf(&out, "# %s %s\n%s\n", digest.FromBytes(b), name, raw)
	}
	return out.Bytes()
}

func TestGolden(t *testing.T) {
	img := func(t *testing.T) pipelines.Image { return pipelines.From(platform, base(t)) }
	other := pipelines.From(platform, pipelines.Scratch{}).Then(pipelines.File{Path: "/tools/list", Data: []byte("one\n")})
	for name, make := range map[string]func(t *testing.T) pipelines.Image{
		"run": func(t *testing.T) pipelines.Image {
			return img(t).Then(
				pipelines.Configure{Env: map[string]string{"NEW": "n"}, User: "1000"},
				pipelines.Run{Shell: "echo hello", Env: map[string]string{"KEEP": "step"}},
				pipelines.Run{Args: []string{"/bin/true", "a b"}, User: "0", Dir: "/tmp", Network: pipelines.NetworkNone},
			)
		},
		"mounts": func(t *testing.T) pipelines.Image {
			return img(t).Then(pipelines.Run{Shell: "cat /run/secrets/tok", Network: pipelines.NetworkNone,
				Secrets: []pipelines.Secret{{ID: "tok"}, {ID: "var", Env: "TOKEN"}, {ID: "maybe", Optional: true, Target: "/etc/maybe", Mode: 0o440}},
				Caches:  []pipelines.CacheMount{{ID: "shared", Target: "/var/cache/thing"}},
				Mounts:  []pipelines.Mount{{From: other, Src: "/tools", Target: "/mnt"}}})
		},
		"files": func(t *testing.T) pipelines.Image {
			return img(t).Then(
				pipelines.File{Path: "/a/b", Data: []byte("hello\n"), Mode: 0o4755, Owner: "5:6"},
				pipelines.File{Path: "/dir", Dir: true, Mode: 0o1777},
				pipelines.File{Path: "/link", Link: "a/b"},
				pipelines.Remove{Paths: []string{"/etc/old", "/tmp/x*"}},
				pipelines.Configure{Labels: map[string]string{"a": "b"}},
			)
		},
		"copies": func(t *testing.T) pipelines.Image {
			local := pipelines.From(platform, pipelines.Local{Path: localFiles(t), Exclude: []string{"app/sub"}})
			return img(t).Then(
				pipelines.Copy{From: local, Src: []string{"app"}, Dst: "/opt/app", Owner: "7:8"},
				pipelines.Copy{From: local, Src: []string{"*.txt"}, Dst: "/opt/", Mode: 0o400},
				pipelines.Copy{From: other, Src: []string{"/tools"}, Dst: "/kept"},
			)
		},
	} {
		t.Run(name, func(t *testing.T) {
			def, err := lowerTo(t, make(t), func(r *builders.Request) {
				r.Secrets = map[string][]byte{"tok": []byte("v3ry-secret"), "var": []byte("als0-secret")}
			})
			check(t, err)
			got := readable(t, def)
			if bytes.Contains(got, []byte("-secret")) {
				t.Error("the value of a secret is in the definition")
			}
			golden.Check(t, name+".json", got)
		})
	}
}

// TestRowsAreOneOperation: what makes one layer is one operation.
func TestRowsAreOneOperation(t *testing.T) {
	def, err := lowerTo(t, pipelines.From(platform, base(t)).Then(
		pipelines.File{Path: "/a"}, pipelines.Remove{Paths: []string{"/b"}}, pipelines.Configure{Cmd: []string{"x"}}, pipelines.File{Path: "/c"},
		pipelines.Run{Shell: "true"},
		pipelines.File{Path: "/d"}))
	check(t, err)
	kinds := map[string]int{}
	for _, b := range def.Def {
		var op pb.Op
		check(t, op.UnmarshalVT(b))
		kinds[fmt.Sprintf("%T", op.Op)]++
	}
	if kinds["*pb.Op_File"] != 2 || kinds["*pb.Op_Exec"] != 1 {
		t.Errorf("got %v, want two file operations and one command", kinds)
	}
}

// TestSiteIsNoPartOfADefinition: authorities and proxies do not run steps again.
func TestSiteIsNoPartOfADefinition(t *testing.T) {
	img := pipelines.From(platform, base(t)).Then(pipelines.Run{Shell: "true"}, pipelines.Run{Args: []string{"/bin/true"}})
	plain, err := lowerTo(t, img)
	check(t, err)
	with, err := lowerTo(t, img, func(r *builders.Request) {
		r.Site.CAs = []site.Certificate{{Name: "lab", PEM: []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")}}
	})
	check(t, err)
	if a, b := readable(t, plain), readable(t, with); !bytes.Equal(a, b) {
		t.Errorf("an authority changes the definition: %s", golden.Diff(string(a), string(b)))
	}
}

// TestProxy: the site's, unless the image or the step has its own.
func TestProxy(t *testing.T) {
	def, err := lowerTo(t, pipelines.From(platform, base(t)).Then(
		pipelines.Run{Shell: "one"},
		pipelines.Run{Shell: "two", Env: map[string]string{"HTTP_PROXY": "http://own"}},
		pipelines.Run{Shell: "three", Network: pipelines.NetworkNone}),
		func(r *builders.Request) { r.Site.Proxy = site.Proxy{HTTP: "http://proxy", No: "localhost"} })
	check(t, err)
	got := map[string]string{}
	for _, b := range def.Def {
		var op pb.Op
		check(t, op.UnmarshalVT(b))
		if e := op.GetExec(); e != nil {
			p := e.Meta.ProxyEnv
			got[e.Meta.Args[len(e.Meta.Args)-1]] = p.GetHttpProxy() + " " + p.GetNoProxy()
		}
	}
	if want := map[string]string{"one": "http://proxy localhost", "two": " localhost", "three": " "}; !maps.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoweringRefuses(t *testing.T) {
	img := pipelines.From(platform, base(t))
	local := pipelines.From(platform, pipelines.Local{Path: localFiles(t)})
	for name, tc := range map[string]struct {
		img  pipelines.Image
		want string
	}{
		"a directory to build on":  {local.Then(pipelines.File{Path: "/x"}), "is not an image to build on"},
		"a secret that is missing": {img.Then(pipelines.Run{Shell: "true", Secrets: []pipelines.Secret{{ID: "none"}}}), "secret none was not given"},
		"roots":                    {img.Then(pipelines.Run{Shell: "true", Roots: []string{"/r"}}), "devices and processes"},
		"nothing to copy":          {img.Then(pipelines.Copy{From: local, Src: []string{"*.none"}, Dst: "/x/"}), "nothing there to copy"},
		"a layout that is none":    {pipelines.From(platform, pipelines.Layout{Path: t.TempDir()}).Then(pipelines.File{Path: "/x"}), "layout"},
	} {
		_, err := lowerTo(t, tc.img)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "lower_test.go:") {
			t.Errorf("%s: got %v", name, err)
		}
		var hint interface{ Hint() string }
		if strings.HasPrefix(name, "a ") && !strings.Contains(name, "layout") && (!errors.As(err, &hint) || hint.Hint() == "") {
			var step *builders.StepError
			if !errors.As(err, &step) || !errors.As(step.Err, &hint) || hint.Hint() == "" {
				t.Errorf("%s: no hint", name)
			}
		}
	}
}
