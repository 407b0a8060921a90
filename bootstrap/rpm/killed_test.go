package rpm_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/rpm"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// toMake is a request for another process.
type toMake struct {
	Op       pipelines.Bootstrap
	Platform pipelines.Platform
	Site     site.Site
	CacheDir string
	Now      time.Time
}

// TestKilled kills runs at ever later moments; the next one makes the same root.
func TestKilled(t *testing.T) {
	if request := os.Getenv("CFBUILD_TEST_MAKE_RPM"); request != "" {
		makeForever(t, request)
		return
	}
	w := newSmall(t)
	want, err := w.make(t)
	if err != nil {
		t.Fatal(err)
	}
	w.req.CacheDir = t.TempDir()
	data, err := json.Marshal(toMake{w.req.Op, w.req.Platform, w.req.Site, w.req.CacheDir, w.req.Now})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "request.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "CFBUILD_TEST_MAKE_RPM="+file)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+i*20) * time.Millisecond)
		child.Process.Kill()
		child.Wait()
		if i%3 != 2 {
			continue // the next child finds what this one left
		}
		if got, err := w.make(t); err != nil || got.Digest != want.Digest {
			t.Errorf("after kill %d: %+v, %v", i, got, err)
		}
		left, _ := filepath.Glob(filepath.Join(w.req.CacheDir, "roots", "*"))
		for _, l := range left {
			if strings.HasSuffix(l, ".tmp") {
				t.Errorf("after kill %d: %s is left", i, filepath.Base(l))
			}
		}
	}
}

// makeForever makes the root again and again, from nothing.
func makeForever(t *testing.T, request string) {
	data, err := os.ReadFile(request)
	if err != nil {
		t.Fatal(err)
	}
	var m toMake
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	for {
		root, err := rpm.New(rpm.Options{}).Make(context.Background(), bootstrap.Request{Op: m.Op,
			Platform: m.Platform, Site: m.Site, CacheDir: m.CacheDir, Now: m.Now})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Dir(root.Layout)); err != nil {
			t.Fatal(err)
		}
	}
}
