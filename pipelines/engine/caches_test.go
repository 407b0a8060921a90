package engine

import (
	"context"
	"slices"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// exporting is a builder whose caches take everything.
type exporting struct{ *fakeBuilder }

func (e exporting) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	res, err := e.fakeBuilder.Build(ctx, r)
	res.Exported = len(r.CacheTo)
	return res, err
}

// An artifact that is there is asked of the builder again for caches that may lack its
// steps, and once only; each platform has its own place.
func TestCachesOfArtifacts(t *testing.T) {
	b := &fakeBuilder{}
	e := engineIn(t, exporting{b})
	here := builders.CacheRef{Type: builders.CacheLocal, Dir: "/here"}
	there := builders.CacheRef{Type: builders.CacheRegistry, Ref: "registry.example:5000/cache:main", Mode: "min"}
	ps := []pipelines.Platform{amd64, arm64}
	for i, c := range []struct {
		to     []builders.CacheRef
		builds int32
	}{{nil, 2}, {[]builders.CacheRef{here}, 4}, {[]builders.CacheRef{here}, 4}, {nil, 4}, {[]builders.CacheRef{there}, 6}, {[]builders.CacheRef{there}, 6}} {
		e.CacheTo = c.to
		if _, err := e.Run(t.Context(), plan(t, ps, "one")); err != nil {
			t.Fatal(err)
		}
		if n := b.builds.Load(); n != c.builds {
			t.Errorf("run %d: %d builds so far, want %d", i, n, c.builds)
		}
	}
	r, _ := b.seen.Load("one-arm64")
	want := builders.CacheRef{Type: builders.CacheRegistry, Ref: "registry.example:5000/cache:main-one-arm64-fake", Mode: "min"}
	if got := r.(builders.Request).CacheTo; !slices.Equal(got, []builders.CacheRef{want}) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
