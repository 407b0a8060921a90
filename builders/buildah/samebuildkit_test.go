//go:build !no_buildkit && linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/pipelines"
)

// TestSameAsBuildKit: a graph gives the same digest on a real buildkitd, as root and
// rootless, as here. Left out is what that daemon does not hand over (decision 22).
func TestSameAsBuildKit(t *testing.T) {
	p := pipelines.HostPlatform()
	base := builderstest.Busybox(t)
	copied := pipelines.From(p, base).Then(pipelines.Run{Shell: "mkdir -p /out/sub; echo 1 > /out/sub/one; chown 3:4 /out/sub; ln -s sub /out/link"})
	cases := map[string]pipelines.Image{
		"new":         pipelines.From(p, base).Then(pipelines.Run{Shell: "mkdir -p /data/a/b; touch -d '2001-02-03 00:00:00' /data/old; mkfifo /data/p; ln -s no /data/l; echo a > /data/h; ln /data/h /data/i"}),
		"deleted":     pipelines.From(p, base).Then(pipelines.Run{Shell: "rm -r /srv/deep; mkdir /srv/deep; echo y > /srv/deep/z; rm /etc/conf; mkdir /etc/conf; echo in > /etc/conf/in; rm -r /home; echo file > /home"}),
		"attributes":  pipelines.From(p, base).Then(pipelines.Run{Shell: "chmod 600 /opt/attr; chown 5:6 /opt/suid; chmod 4711 /opt/suid; chmod 700 /opt/cap"}),
		"all names":   pipelines.From(p, base).Then(pipelines.Run{Shell: "ln /opt/one /opt/three; chmod 600 /opt/one"}),
		"nothing":     pipelines.From(p, base).Then(pipelines.Run{Shell: "touch /srv/x; rm /srv/x; chmod 700 /srv; chmod 755 /srv"}, pipelines.Run{Shell: "true"}),
		"not a RUN":   pipelines.From(p, base).Then(pipelines.File{Path: "/f/g", Data: []byte("hey"), Mode: 0o600}, pipelines.Remove{Paths: []string{"/srv/data"}}, pipelines.Configure{User: "user", Labels: map[string]string{"a": "b"}}),
		"on top":      pipelines.From(p, base).Then(pipelines.Run{Shell: "cp -a /srv /copied; chown -R 7:7 /copied; touch /bin/busybox"}, pipelines.Run{Shell: "rm -r /copied; mkdir /copied; echo > /copied/x"}),
		"copied":      pipelines.From(p, base).Then(pipelines.Copy{From: copied, Src: []string{"/out"}, Dst: "/got/"}),
		"from nought": pipelines.From(p, pipelines.Scratch{}).Then(pipelines.Copy{From: copied, Src: []string{"/out/sub"}, Dst: "/x/"}, pipelines.File{Path: "/y", Data: []byte("y"), Mode: 0o644}),
	}
	here := opener(builders.Options{})(t)
	want := map[string]builders.Result{}
	build := func(t *testing.T, b builders.Builder, img pipelines.Image) builders.Result {
		g, err := img.Graph()
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.Build(t.Context(), builders.Request{Job: "job", Graph: g, Output: filepath.Join(t.TempDir(), "out"), Epoch: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, img := range cases {
		want[name] = build(t, here, img)
	}
	for kind, o := range map[string]buildkitdtest.Options{"root": {}, "rootless": {Rootless: true}} {
		t.Run(kind, func(t *testing.T) {
			there, err := buildkit.Backend().Open(t.Context(), builders.Options{Address: buildkitdtest.Start(t, o).Addr, StateDir: t.TempDir(), Log: testLog{t}})
			if err != nil {
				t.Fatal(err)
			}
			for name, img := range cases {
				t.Run(name, func(t *testing.T) {
					if got := build(t, there, img); got.Digest != want[name].Digest {
						t.Errorf("%s, here it is %s", got.Digest, want[name].Digest)
					}
				})
			}
		})
	}
}
