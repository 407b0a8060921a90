package deb_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb"
	"github.com/cfbuild/cfbuild/bootstrap/deb/debtest"
)

// The identity is known without a package, is the one of the root that is made then,
// and changes with packages, dates and requests.
func TestIdentify(t *testing.T) {
	w := newWorld(t)
	identify := func() bootstrap.Identity {
		t.Helper()
		id, err := deb.New(deb.Options{}).(bootstrap.Identifier).Identify(t.Context(), w.req)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	same := func(a, b bootstrap.Identity) bool { return a.Root == b.Root && slices.Equal(a.Metadata, b.Metadata) }
	first := identify()
	if first.Root == "" || len(first.Metadata) != 1 {
		t.Fatalf("%+v", first)
	}
	for _, path := range w.mirror.Asked() {
		if strings.HasSuffix(path, ".deb") {
			t.Errorf("a package was fetched: %s", path)
		}
	}
	if made := w.make(t).Identity; !same(made, first) {
		t.Errorf("made %+v, was to be %+v", made, first)
	}
	w.req.CacheDir = t.TempDir()
	if again := identify(); !same(again, first) {
		t.Errorf("on another machine %+v, first %+v", again, first)
	}
	w.req.Epoch = released.Add(-time.Hour)
	at := identify()
	if at.Root == first.Root || !slices.Equal(at.Metadata, first.Metadata) {
		t.Errorf("at another epoch %+v, first %+v", at, first)
	}
	// A release with a package more that is not wanted: the same root at this epoch.
	w.suite.Date = released.Add(time.Minute)
	w.suite.Packages = append(w.suite.Packages, pkg(t, debtest.Deb{Name: "unwanted"}))
	w.update(t)
	if next := identify(); next.Root != at.Root || slices.Equal(next.Metadata, at.Metadata) {
		t.Errorf("the next release %+v, before %+v", next, at)
	}
	w.req.Op.Include = append(w.req.Op.Include, "unwanted")
	if more := identify(); more.Root == at.Root {
		t.Error("one more package makes no difference")
	}
}
