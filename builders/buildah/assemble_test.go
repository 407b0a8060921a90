//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/assembletest"
	"github.com/cfbuild/cfbuild/internal/layertest"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestAssembledTheSame: the layers of this builder's images, written the way other
// builders have them and put together by package assemble, give the same image.
func TestAssembledTheSame(t *testing.T) {
	p := pipelines.HostPlatform()
	epoch := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	base := builderstest.Busybox(t)
	steps := []pipelines.Step{
		pipelines.Configure{Env: map[string]string{"A": "b", "KEEP": "new"}, Labels: map[string]string{"x": "y"}, ExposedPorts: []string{"80"}},
		pipelines.Run{Shell: `mkdir -p /data/a/b; echo new > /new; touch -d '2001-02-03 00:00:00' /data/old; ln /opt/one /data/linked
			mkfifo /data/pipe; ln -s nowhere /data/dangling; chmod 600 /opt/attr; chown 5:6 /opt/suid; chmod 4711 /opt/suid
			rm -r /srv/deep; mkdir /srv/deep; echo y > /srv/deep/z; rm /etc/conf; mkdir /etc/conf; echo in > /etc/conf/in; rm -r /home; echo file > /home`},
		pipelines.Run{Shell: "true"},
		pipelines.File{Path: "/f/g", Data: []byte("hey"), Mode: 0o600},
		pipelines.Remove{Paths: []string{"/srv/data", "/data/a"}},
		pipelines.Configure{Cmd: []string{"x"}, User: "user", Author: "me", Volumes: []string{"/v"}},
		pipelines.Run{Shell: "chmod 751 /; cp -a /srv /copied; chown -R 7:7 /copied; rm /new; echo again > /new; touch /bin/busybox", User: "root"},
		pipelines.Configure{WorkingDir: "/f"},
	}
	g, err := pipelines.From(p, base).Then(steps...).Graph()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	want, err := opener(builders.Options{})(t).Build(t.Context(), builders.Request{Job: "job", Graph: g, Output: out, Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	l, err := oci.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Manifest(p)
	if err != nil {
		t.Fatal(err)
	}
	_, cfg, err := l.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	from, err := oci.Open(base.Path)
	if err != nil {
		t.Fatal(err)
	}
	fromDesc, err := from.Manifest(p)
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := assemble.Spec{Platform: p, Epoch: epoch, Base: &assemble.Base{Layout: from, Desc: fromDesc}, Raw: layertest.Layout(t),
			Output: filepath.Join(t.TempDir(), "out"), Cache: cache}
		full := 1
		for i, nodes := range assemble.Groups(g.Nodes[1:]) {
			group := assemble.Group{Nodes: nodes}
			if !cfg.History[1+i].EmptyLayer {
				raw := layertest.Blob(t, s.Raw, assembletest.Mangle(t, l, d, full, epoch, rng), []string{layertest.Plain, layertest.Gzip, layertest.Zstd}[seed%3])
				group.Raw = &raw
				full++
			}
			s.Groups = append(s.Groups, group)
		}
		if full < 4 {
			t.Fatalf("%d layers: %+v", full, cfg.History)
		}
		got, err := assemble.Write(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest != want.Digest || got.Size != want.Size {
			t.Errorf("seed %d: %+v, buildah's is %+v", seed, got, want)
			compare(t, out, s.Output, p)
		}
	}
}

// compare says in which parts two images differ.
func compare(t *testing.T, a, b string, p pipelines.Platform) {
	t.Helper()
	var m [2]v1.Manifest
	var c [2]v1.Image
	for i, dir := range []string{a, b} {
		l, err := oci.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		d, err := l.Manifest(p)
		if err != nil {
			t.Fatal(err)
		}
		if m[i], c[i], err = l.Image(d); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%+v\n%+v\n%+v\n%+v", c[0], c[1], m[0].Layers, m[1].Layers)
}
