//go:build !no_buildkit && linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildkit_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

func TestMain(m *testing.M) {
	if buildah.Child() {
		return
	}
	os.Exit(m.Run())
}

// sameImages are definitions that every builder makes the same image of, to the bit.
func sameImages(t *testing.T) map[string]pipelines.Image {
	p := pipelines.HostPlatform()
	base := pipelines.From(p, builderstest.Busybox(t))
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"etc/conf.d/one": 0o640, "etc/conf.d/two": 0o755, "opt/dirlink/new": 0o600, "top": 0o444} {
		f := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(f, mode); err != nil {
			t.Fatal(err)
		}
		for d := filepath.Dir(f); len(d) >= len(dir); d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	local := pipelines.From(p, pipelines.Local{Path: dir, Exclude: []string{"etc/conf.d/two"}})
	stage := base.Then(pipelines.Run{Shell: "mkdir -p /out/a/b; echo x > /out/a/b/file; chown 3:4 /out/a/b; chmod 2750 /out/a/b; ln -s b /out/a/link; ln /out/a/b/file /out/hard; touch -d '2003-04-05 06:07:08' /out/old"})
	return map[string]pipelines.Image{
		"steps": base.Then(
			pipelines.Run{Shell: "mkdir -p /data/x; for i in 3 1 2; do echo $i > /data/$i; done; touch /etc/conf; mkfifo /data/p; ln /data/1 /data/one"},
			pipelines.Run{Shell: "true"},
			pipelines.Run{Args: []string{"touch", "/as-args"}, User: "0"},
			pipelines.Configure{Env: map[string]string{"A": "b"}, Labels: map[string]string{"l": "m"}, Cmd: []string{"/bin/sh"}},
			pipelines.Run{Shell: "rm -r /data/x /srv; mkdir -p /srv/deep; mv /data/2 /srv; echo own > own", User: "0", Dir: "/home/user"},
			pipelines.Run{Shell: "echo u > mine; mkdir sub; chmod 711 sub", User: "user", Dir: "/home/user"}),
		"files": base.Then(
			pipelines.File{Path: "/etc/new", Data: []byte("new\n"), Mode: 0o4711, Owner: "5:6"},
			pipelines.File{Path: "/opt/sgid", Dir: true, Mode: 0o1777},
			pipelines.File{Path: "/opt/link", Link: "two"},
			pipelines.File{Path: "/opt/dirlink/through", Data: []byte("t")},
			pipelines.Remove{Paths: []string{"/opt/o*", "/nowhere/*", "/srv/deep", "/opt/dirlink/data"}},
			pipelines.File{Path: "/opt/one", Dir: true}),
		"copies of a directory": base.Then(
			pipelines.Copy{From: local, Src: []string{"/"}, Dst: "/"},
			pipelines.Copy{From: local, Src: []string{"etc"}, Dst: "/missing/deep", Owner: "9:10"},
			pipelines.Copy{From: local, Src: []string{"t*"}, Dst: "/srv", Mode: 0o4755}),
		"copies of an image": base.Then(
			pipelines.File{Path: "/here/a/b", Dir: true, Mode: 0o700, Owner: "7:7"},
			pipelines.Copy{From: stage, Src: []string{"/out"}, Dst: "/here"},
			pipelines.Copy{From: stage, Src: []string{"/out/a"}, Dst: "/moded", Mode: 0o604, Owner: "1:2"},
			pipelines.Copy{From: stage, Src: []string{"/out/[ao]*"}, Dst: "/all/"},
			pipelines.Copy{From: base, Src: []string{"/srv"}, Dst: "/opt/dirlink"}),
		"from nothing": pipelines.From(p, pipelines.Scratch{}).Then(
			pipelines.Copy{From: base, Src: []string{"/bin"}, Dst: "/bin"},
			pipelines.Run{Shell: "mkdir /made; echo x > /made/file"},
			pipelines.File{Path: "/tmp", Dir: true, Mode: 0o1777}),
	}
}

func TestSameAsBuildah(t *testing.T) {
	testneed.Root(t)
	a, err := buildah.Backend().Open(t.Context(), builders.Options{StateDir: t.TempDir(), Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := buildkit.Backend().Open(t.Context(), builders.Options{Address: buildkitdtest.Start(t, buildkitdtest.Options{}).Addr, StateDir: t.TempDir(), Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	for name, img := range sameImages(t) {
		t.Run(name, func(t *testing.T) {
			g, err := img.Graph()
			if err != nil {
				t.Fatal(err)
			}
			var digests []string
			for _, builder := range []builders.Builder{a, b} {
				r := builders.Request{Job: "job", Graph: g, Output: filepath.Join(t.TempDir(), "out"), Epoch: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)}
				res, err := builder.Build(t.Context(), r)
				if err != nil {
					t.Fatalf("%s: %v", builder.Name(), err)
				}
				digests = append(digests, res.Digest)
			}
			if digests[0] != digests[1] {
				t.Errorf("buildah made %s, buildkit %s", digests[0], digests[1])
			}
		})
	}
}
