package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// knowingBoot knows what it makes; what it makes afterwards may be newer.
type knowingBoot struct {
	fakeBoot
	says, makes bootstrap.Identity
}

func (k knowingBoot) Identify(context.Context, bootstrap.Request) (bootstrap.Identity, error) {
	return k.says, nil
}

func (k knowingBoot) Make(ctx context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	root, err := k.fakeBoot.Make(ctx, r)
	root.Identity = k.makes
	return root, err
}

// inputKeys gives the key before the build and the one of what was built.
func inputKeys(t *testing.T, e *Engine, build func(pipelines.Platform) pipelines.Image) (before, built string) {
	t.Helper()
	job, err := pipelines.NewJob(pipelines.Target{Name: "x", Build: build}, amd64)
	if err != nil {
		t.Fatal(err)
	}
	if before, err = e.Inputs(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	out, err := e.Run(t.Context(), pipelines.Plan{Version: 1, Jobs: []pipelines.Job{job}})
	if err != nil {
		t.Fatal(err)
	}
	return before, out.Artifacts[0].Inputs
}

func booted(steps ...pipelines.Step) func(pipelines.Platform) pipelines.Image {
	return func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Bootstrap{Method: "fake", Sources: []pipelines.PackageSource{{Repository: "r", Suite: "s"}}}).Then(steps...)
	}
}

// The key before the build is that of what is built, and changes with every input.
func TestInputs(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("1")
	local := func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Scratch{}).Then(pipelines.Copy{From: pipelines.From(p, pipelines.Local{Path: dir}), Src: []string{"file"}, Dst: "/"})
	}
	quiet := pipelines.Run{Shell: "true", Network: pipelines.NetworkNone}
	root := bootstrap.Identity{Root: "r1", Metadata: []string{"m1"}}
	newer := bootstrap.Identity{Root: "r1", Metadata: []string{"m2"}}
	seen := map[string]string{}
	key := func(what string, boot bootstrap.Identity, build func(pipelines.Platform) pipelines.Image, change ...func(*Engine)) string {
		t.Helper()
		e := engineIn(t, &fakeBuilder{})
		e.Bootstrappers = []bootstrap.Bootstrapper{knowingBoot{fakeBoot{bootEpoch}, boot, boot}}
		for _, f := range change {
			f(e)
		}
		before, built := inputKeys(t, e, build)
		if before == "" || before != built {
			t.Errorf("%s: %q before, %q built", what, before, built)
		}
		if old, ok := seen[before]; ok {
			t.Errorf("%s has the key of %s", what, old)
		}
		seen[before] = what
		return before
	}
	key("a root", root, booted(quiet))
	key("another root", bootstrap.Identity{Root: "r2", Metadata: []string{"m1"}}, booted(quiet))
	key("another step", root, booted(pipelines.Run{Shell: "false", Network: pipelines.NetworkNone}))
	key("another program", root, booted(quiet), func(e *Engine) { e.Program = "v2" })
	key("another epoch", root, booted(quiet), func(e *Engine) { e.Epoch = time.Unix(5, 0) })
	key("a step with a network", root, booted(pipelines.Run{Shell: "true"}))
	key("a step with a network, and newer metadata", newer, booted(pipelines.Run{Shell: "true"}))
	key("a directory", root, local)
	write("2")
	key("a directory whose file changed", root, local)
	again := booted(pipelines.Run{Shell: "again", Network: pipelines.NetworkNone})
	first := key("a step without a network", root, again)
	delete(seen, first)
	if next := key("a step without a network, and newer metadata", newer, again); next != first {
		t.Errorf("without a network, metadata decides: %s, then %s", first, next)
	}
}

// What was built has its own key, if the mirror moved after it was asked; and there is
// none where something cannot be known.
func TestInputsOfWhatWasBuilt(t *testing.T) {
	e := engineIn(t, &fakeBuilder{})
	e.Bootstrappers = []bootstrap.Bootstrapper{knowingBoot{fakeBoot{bootEpoch}, bootstrap.Identity{Root: "old"}, bootstrap.Identity{Root: "new"}}}
	if before, built := inputKeys(t, e, booted()); before == built || built == "" {
		t.Errorf("%q before, %q built", before, built)
	}
	e = engineIn(t, &fakeBuilder{}) // a bootstrapper that does not say
	if before, built := inputKeys(t, e, booted()); before != "" || built != "" {
		t.Errorf("%q before, %q built", before, built)
	}
	pull := func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Pull{Ref: "registry.example/x:1"}).Then(pipelines.Run{Shell: "true"})
	}
	e = engineIn(t, &fakeBuilder{}) // nobody to ask what the tag means
	if before, built := inputKeys(t, e, pull); before != "" || built != "" {
		t.Errorf("a tag: %q before, %q built", before, built)
	}
	digest := "a"
	e.Resolve = func(context.Context, string) ([]pipelines.Platform, string, error) {
		return []pipelines.Platform{amd64}, "sha256:" + strings.Repeat(digest, 64), nil
	}
	first, _ := inputKeys(t, e, pull)
	digest = "b"
	if second, built := inputKeys(t, e, pull); first == "" || second == first || built != second {
		t.Errorf("%q, then %q, built %q", first, second, built)
	}
}

// The label has the key, and says so in the configuration step alone.
func TestLabelInputs(t *testing.T) {
	b := &fakeBuilder{}
	e := engineIn(t, b)
	e.LabelInputs = true
	e.Bootstrappers = []bootstrap.Bootstrapper{knowingBoot{fakeBoot{bootEpoch}, bootstrap.Identity{Root: "r"}, bootstrap.Identity{Root: "r"}}}
	_, key := inputKeys(t, e, booted(pipelines.Run{Shell: "true"}))
	r, _ := b.seen.Load("x-amd64")
	nodes := r.(builders.Request).Graph
	last, ok := nodes.Result().Op.(pipelines.Configure)
	if !ok || last.Labels[LabelInputs] != key || key == "" {
		t.Errorf("%+v, key %q", nodes.Result(), key)
	}
	_, key = inputKeys(t, e, func(p pipelines.Platform) pipelines.Image { return pipelines.From(p, pipelines.Scratch{}) })
	r, _ = b.seen.Load("x-amd64")
	if g := r.(builders.Request).Graph; key == "" || len(g.Nodes) != 1 {
		t.Errorf("an image without steps was changed: %+v", g.Nodes)
	}
}
