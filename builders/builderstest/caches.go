package builderstest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// several is an image with a bit of everything.
func (s *suite) several(dir string, last string) pipelines.Image {
	return s.image().Then(
		pipelines.Run{Shell: "mkdir -p /data/a/b; date > /dev/null; for i in 3 1 2; do echo $i > /data/a/$i; done; touch /etc/conf"},
		pipelines.File{Path: "/data/file", Data: []byte("data")},
		pipelines.Copy{From: pipelines.From(s.p, pipelines.Local{Path: dir}), Src: []string{"*.txt"}, Dst: "/data/"},
		pipelines.Remove{Paths: []string{"/srv/data"}},
		pipelines.Run{Shell: "mv /data/a /data/z; chmod 700 /opt/sgid; ln /data/file /data/hard"},
		pipelines.Configure{Labels: map[string]string{"a": "b"}},
		pipelines.Run{Shell: last},
	)
}

// Digest builds an image with a bit of everything and gives its manifest's digest.
// It is the same whoever builds it, by whatever means.
func Digest(t *testing.T, b builders.Builder) string {
	t.Helper()
	p := pipelines.HostPlatform()
	s := &suite{p: p, base: busyboxBase(t, p)}
	img := s.several(local(t), "echo end > /end; rm -r /srv; mkdir -p /srv/deep; chown 1000 /opt/attr; cp -a /opt/cap /opt/capped; adduser -D someone || true").Then(
		pipelines.Run{Shell: "mkdir own; echo x > own/x; ln own/x own/y; chmod 711 own", User: "user", Dir: "/home/user"},
		pipelines.Run{Shell: "rm -r /opt/sgid /data/z; echo 1 > /opt/sgid; chmod 700 /"},
		pipelines.Copy{From: s.image(), Src: []string{"/opt"}, Dst: "/copied"})
	return buildWith(t, b, img).Digest
}

var cacheCases = []testCase{
	{"the same twice", func(t *testing.T, s *suite) {
		dir := local(t)
		img := s.several(dir, "echo end > /end")
		first := buildWith(t, s.open(t), img)
		// Other times, another builder, nothing cached.
		later := time.Now().Add(-time.Hour)
		check(t, os.Chtimes(filepath.Join(dir, "b.txt"), later, later))
		time.Sleep(1100 * time.Millisecond)
		second := buildWith(t, s.open(t), img)
		first.sameAs(t, second, "two builds from nothing differ")
		if first.Ran == 0 || second.Ran != first.Ran {
			t.Errorf("ran %d and %d steps", first.Ran, second.Ran)
		}
	}},
	{"steps are kept", func(t *testing.T, s *suite) {
		dir := local(t)
		b := s.open(t)
		first := buildWith(t, b, s.several(dir, "echo 1 > /end"))
		if first.Cached != 0 || first.Ran == 0 {
			t.Fatalf("first: ran %d, cached %d", first.Ran, first.Cached)
		}
		again := buildWith(t, b, s.several(dir, "echo 1 > /end"))
		if again.Ran != 0 || again.Cached != first.Ran {
			t.Errorf("again: ran %d, cached %d, want 0 and %d", again.Ran, again.Cached, first.Ran)
		}
		again.sameAs(t, first, "a cached build differs")
		cached := 0
		for _, e := range again.events.all() {
			if e.Kind == pipelines.EventCached && e.Name != "" {
				cached++
			}
		}
		if cached < again.Cached {
			t.Errorf("%d events say cached, want at least %d", cached, again.Cached)
		}
		last := buildWith(t, b, s.several(dir, "echo 2 > /end"))
		if last.Ran != 1 || last.Cached != first.Ran-1 {
			t.Errorf("last step changed: ran %d, cached %d, want 1 and %d", last.Ran, last.Cached, first.Ran-1)
		}
		last.content(t, "end", "2\n")
		none := buildWith(t, b, s.several(dir, "echo 1 > /end"), func(r *builders.Request) { r.NoCache = true })
		if none.Cached != 0 || none.Ran != first.Ran {
			t.Errorf("without cache: ran %d, cached %d", none.Ran, none.Cached)
		}
		none.sameAs(t, first, "a build without cache differs")
		mixed := buildWith(t, b, s.several(dir, "echo 2 > /end"))
		mixed.sameAs(t, last, "a build on renewed layers differs")
	}},
	{"what is copied is the key", func(t *testing.T, s *suite) {
		dir := local(t)
		b := s.open(t)
		img := s.several(dir, "cat /data/b.txt > /end")
		first := buildWith(t, b, img)
		now := time.Now()
		check(t, os.Chtimes(filepath.Join(dir, "b.txt"), now, now))
		check(t, os.WriteFile(filepath.Join(dir, "app/main.txt"), []byte("not copied"), 0o600))
		if got := buildWith(t, b, img); got.Ran != 0 {
			t.Errorf("%d steps ran for what is not copied", got.Ran)
		}
		check(t, os.WriteFile(filepath.Join(dir, "b.txt"), []byte("changed"), 0o600))
		got := buildWith(t, b, img)
		got.content(t, "end", "changed")
		if got.Digest == first.Digest || got.Ran == 0 || got.Cached == 0 {
			t.Errorf("ran %d, cached %d", got.Ran, got.Cached)
		}
	}},
	{"two epochs", func(t *testing.T, s *suite) {
		b := s.open(t)
		img := s.image().Then(pipelines.File{Path: "/x"})
		one := buildWith(t, b, img)
		two := buildWith(t, b, img, func(r *builders.Request) { r.Epoch = epoch.Add(time.Hour) })
		if one.Digest == two.Digest || two.entries[len(two.entries)-1].Time != epoch.Add(time.Hour).Unix() {
			t.Error("the epoch does not show")
		}
		buildWith(t, b, img).sameAs(t, one, "back to the first epoch")
	}},
	{"several at once", func(t *testing.T, s *suite) {
		b := s.open(t)
		var wg sync.WaitGroup
		out := make([]builders.Result, 6)
		errs := make([]error, len(out))
		for i := range out {
			// Three pairs: the same, and on a common first step.
			img := s.image().Then(pipelines.Run{Shell: "sleep 0.3; echo common > /common"}, pipelines.Run{Shell: fmt.Sprintf("sleep 0.1; echo %d > /n", i/2)})
			r, _ := request(t, img)
			r.Output += fmt.Sprint(i)
			wg.Go(func() { out[i], errs[i] = b.Build(t.Context(), r) })
		}
		wg.Wait()
		ran := 0
		for i := range out {
			check(t, errs[i])
			ran += out[i].Ran
			if i%2 == 1 && out[i].Digest != out[i-1].Digest {
				t.Errorf("builds of one image at once differ: %s, %s", out[i-1].Digest, out[i].Digest)
			}
		}
		if ran != 4 {
			t.Errorf("%d steps ran, want 4: the common one once, and each pair's own once", ran)
		}
	}},
}
