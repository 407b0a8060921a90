package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/site"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// fakeApp is a program whose backends build nothing but honest OCI layouts.
func fakeApp() App {
	return App{
		Version:  "v1.2.3",
		Pipeline: fakePipeline,
		Backends: []builders.Backend{
			{Name: "left", Describe: "left out", Stub: "no_left was set"},
			{Name: "absent", Describe: "never works", Open: func(context.Context, builders.Options) (builders.Builder, error) {
				return fakeBuilder{name: "absent", caps: builders.Capabilities{Reason: "its daemon does not run", Fix: "sudo systemctl start absent"}}, nil
			}},
			{Name: "fake", Describe: "builds nothing", Open: openFake},
			{Name: "farm", Describe: "builds nothing elsewhere", Open: openFarm, Workers: farmWorkers,
				Remove: func(_ context.Context, o builders.Options) ([]string, error) {
					if o.Address != "up" {
						return nil, nil
					}
					return []string{"container one", "volume two"}, nil
				}},
		},
		Bootstrappers: []bootstrap.Bootstrapper{fakeBootstrap{}},
		Publisher:     func(o PublisherOptions) Publisher { return fakePublisher{o} },
	}
}

// onlyAbsent has no backend that works.
func onlyAbsent() App {
	a := fakeApp()
	a.Backends = a.Backends[:2]
	return a
}

var linuxAll = []pipelines.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}, {OS: "linux", Architecture: "s390x"}}

func fakePipeline(s site.Site) pipelines.Pipeline {
	scratch := func(steps ...pipelines.Step) func(pipelines.Platform) pipelines.Image {
		return func(p pipelines.Platform) pipelines.Image {
			return pipelines.From(p, pipelines.Scratch{}).Then(steps...)
		}
	}
	return pipelines.Pipeline{Name: "fake", Targets: []pipelines.Target{
		{Name: "alpha", Aliases: []string{"first"}, Description: "the first image", Build: scratch(
			pipelines.File{Path: "/etc/motd", Data: []byte("hello\n")}, pipelines.Run{Shell: "true"}, pipelines.Configure{User: "app"})},
		{Name: "beta", Description: "two platforms", Platforms: linuxAll[:2], Build: scratch(pipelines.File{Path: "/beta"})},
		{Name: "gamma", Description: "from packages", Build: func(p pipelines.Platform) pipelines.Image {
			return pipelines.From(p, pipelines.Bootstrap{Method: "deb", Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "bookworm"}}})
		}},
		{Name: "fails", Description: "its step fails", Build: scratch(pipelines.Run{Shell: "exit 3"})},
		{Name: "hangs", Description: "its step never ends", Build: scratch(pipelines.Run{Shell: "sleep forever"})},
		{Name: "private", Description: "asks for a secret", Build: scratch(pipelines.Run{Shell: "use it", Secrets: []pipelines.Secret{{ID: "token"}}})},
		{Name: "bad", Description: "is not valid", Build: scratch(pipelines.File{Path: "relative"})},
		{Name: "tested", Description: "declares tests", Build: scratch(pipelines.File{Path: "/x"}), Tests: pipelines.Tests(
			pipelines.TestLabel{Name: "id"}, pipelines.TestCommand{Shell: "true"}, pipelines.TestCommand{Name: "exits", Shell: "exit 3", ExitCode: 3, Output: []string{"+ exit"}})},
		{Name: "wanting", Description: "does not pass its tests", Build: scratch(pipelines.File{Path: "/y"}), Tests: []pipelines.Test{
			pipelines.TestLabel{Name: "nope"}, pipelines.TestCommand{Shell: "exit 4"}, pipelines.TestEnv{Name: "X", Absent: true}}},
		{Name: "misdeclared", Description: "its tests are not valid", Build: scratch(pipelines.File{Path: "/z"}), Tests: pipelines.Tests(
			pipelines.TestCommand{Shell: "true", Args: []string{"true"}})},
		{Name: "old", Description: "past its time", EndOfLife: "2020-02-29", Verified: pipelines.VerifiedGolden, Build: scratch(pipelines.File{Path: "/old"})},
	}}
}

type fakeBuilder struct {
	name string
	caps builders.Capabilities
}

func openFake(_ context.Context, o builders.Options) (builders.Builder, error) {
	if o.Address != "" {
		return nil, fmt.Errorf("builder fake: takes no address, got %q", o.Address)
	}
	return fakeBuilder{"fake", builders.Capabilities{Available: true, Platforms: linuxAll[:2], Emulated: linuxAll[1:2],
		Detail: []string{"storage: none"}, Secrets: true, NetworkNone: true}}, nil
}

// openFarm is the fake with an address.
func openFarm(ctx context.Context, o builders.Options) (builders.Builder, error) {
	if _, err := farmWorkers(ctx, o, 0); err != nil {
		return nil, err
	}
	b, err := openFake(ctx, builders.Options{})
	f := b.(fakeBuilder)
	f.name = "farm"
	f.caps.Detail = []string{"address: " + o.Address}
	return f, err
}

// farmWorkers has one worker for each word of the address: "up" or "down".
func farmWorkers(_ context.Context, o builders.Options, _ time.Duration) ([]builders.WorkerStatus, error) {
	var out []builders.WorkerStatus
	for _, a := range strings.Split(o.Address, ",") {
		switch a {
		case "up":
			out = append(out, builders.WorkerStatus{Address: a, For: linuxAll[:1], Version: "v0.33.1", Platforms: append([]pipelines.Platform{{OS: "linux", Architecture: "amd64", Variant: "v2"}}, linuxAll...),
				Emulated: linuxAll[1:], Snapshotter: "overlayfs", Cache: 3 << 30, Idle: 1 << 30, Records: 12, Limit: 40 << 30})
		case "down", "":
			out = append(out, builders.WorkerStatus{Address: a, Err: "connection refused", Fix: "start " + o.Getenv("FARM_DAEMON")})
		default:
			return nil, fmt.Errorf("farm address %s: is neither up nor down", a)
		}
	}
	return out, nil
}

func (b fakeBuilder) Name() string { return b.name }

func (b fakeBuilder) Capabilities(context.Context) (builders.Capabilities, error) { return b.caps, nil }

func (b fakeBuilder) Build(ctx context.Context, r builders.Request) (builders.Result, error) {
	for _, c := range r.CacheFrom {
		r.Events.Send(pipelines.Event{Kind: pipelines.EventNote, Text: fmt.Sprintf("cache from %s %s", c.Type, c)})
	}
	for _, c := range r.CacheTo {
		host, _, _ := strings.Cut(c.Ref, "/")
		r.Events.Send(pipelines.Event{Kind: pipelines.EventNote, Text: fmt.Sprintf("cache to %s %s %q as %v", c.Type, c, c.Mode, r.Credentials[host])})
	}
	for _, n := range r.Graph.Nodes {
		run, ok := n.Op.(pipelines.Run)
		if !ok {
			continue
		}
		ev := r.Events.With(r.Job, n.ID)
		ev.Send(pipelines.Event{Kind: pipelines.EventStart, Name: n.Name, Where: n.Where.String()})
		ev.Send(pipelines.Event{Kind: pipelines.EventLog, Text: "+ " + run.Shell})
		if code, ok := strings.CutPrefix(run.Shell, "exit "); ok {
			status, _ := strconv.Atoi(code)
			err := &builders.StepError{Node: n, ExitCode: status, Tail: []string{"+ " + run.Shell, "sorry"}}
			ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Text: err.Error()})
			return builders.Result{}, err
		}
		if strings.HasPrefix(run.Shell, "sleep") {
			if err := os.WriteFile(os.Getenv("FAKE_STARTED"), nil, 0o644); err != nil {
				return builders.Result{}, err
			}
			<-ctx.Done()
			return builders.Result{}, ctx.Err()
		}
		ev.Send(pipelines.Event{Kind: pipelines.EventDone, Name: n.Name})
	}
	d, err := fakeImage(r.Output, r.Graph.Platform, r.Graph.ID())
	return builders.Result{Digest: d.Digest.String(), Size: d.Size, Ran: len(r.Graph.Nodes)}, err
}

// fakeImage writes a layout with one image without layers, told apart by a label.
func fakeImage(dir string, p pipelines.Platform, label string) (v1.Descriptor, error) {
	l, err := oci.Create(dir)
	if err != nil {
		return v1.Descriptor{}, err
	}
	plat := oci.ToPlatform(p)
	conf, err := l.PutJSON(v1.MediaTypeImageConfig, v1.Image{Platform: plat, Config: v1.ImageConfig{Labels: map[string]string{"id": label}}})
	if err != nil {
		return v1.Descriptor{}, err
	}
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: conf, Layers: []v1.Descriptor{}}
	m.SchemaVersion = 2
	d, err := l.PutJSON(v1.MediaTypeImageManifest, m)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d.Platform = &plat
	return d, l.SetIndex(v1.Index{Manifests: []v1.Descriptor{d}})
}

type fakeBootstrap struct{}

func (fakeBootstrap) Method() string { return "deb" }

func (fakeBootstrap) Platforms(context.Context, bootstrap.Request) ([]pipelines.Platform, error) {
	if os.Getenv("FAKE_MIRROR") == "down" {
		return nil, errors.New("mirror http://127.0.0.1:9/debian: connection refused")
	}
	return linuxAll, nil
}

func (fakeBootstrap) Make(_ context.Context, r bootstrap.Request) (bootstrap.Root, error) {
	if os.Getenv("FAKE_MIRROR") == "down" {
		return bootstrap.Root{}, errors.New("mirror http://127.0.0.1:9/debian: connection refused")
	}
	dir := filepath.Join(r.CacheDir, "roots", r.Platform.Short())
	d, err := fakeImage(dir, r.Platform, "root")
	return bootstrap.Root{Layout: dir, Digest: d.Digest.String(), Epoch: time.Unix(1700000000, 0)}, err
}

type fakePublisher struct{ o PublisherOptions }

func (fakePublisher) Bundle(_ context.Context, parts []pipelines.Artifact, dir string) (string, bool, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", false, err
	}
	return "sha256:" + strings.Repeat("b", 64), false, os.WriteFile(filepath.Join(dir, "parts"), []byte(strconv.Itoa(len(parts))), 0o644)
}

func (fakePublisher) DockerArchive(_ context.Context, part pipelines.Artifact, path string, names []string) (string, bool, error) {
	return "sha256:" + strings.Repeat("d", 64), false, os.WriteFile(path, []byte(strings.Join(names, "\n")+"\n"), 0o644)
}

func (f fakePublisher) Push(_ context.Context, layout, target, repository string, tags []string, mediaType string, ev pipelines.Sink) (pipelines.Receipt, error) {
	host, _, _ := strings.Cut(repository, "/")
	if strings.HasPrefix(host, "down.") {
		return pipelines.Receipt{}, &publishers.PublishError{Ref: repository, Stage: "connect", Err: errors.New("connection refused"), Fix: "is the registry up?"}
	}
	c := f.o.Credentials[host]
	ev.Send(pipelines.Event{Kind: pipelines.EventNote, Text: fmt.Sprintf("pushing as %q with %s", c.User, c.From)})
	media := v1.MediaTypeImageIndex
	if mediaType == "v2s2" {
		media = "application/vnd.docker.distribution.manifest.list.v2+json"
	}
	if os.Getenv("FAKE_REGISTRY") != "" {
		for _, t := range tags {
			if err := os.WriteFile(tagFile(repository, t), []byte("sha256:"+strings.Repeat("c", 64)), 0o644); err != nil {
				return pipelines.Receipt{}, err
			}
		}
	}
	return pipelines.Receipt{Target: target, Ref: repository, Tags: tags, Digest: "sha256:" + strings.Repeat("c", 64), MediaType: media, Pushed: 1234567}, nil
}

// tagFile keeps what a tag stands for between processes.
func tagFile(repository, tag string) string {
	return filepath.Join(os.Getenv("FAKE_REGISTRY"), strings.ReplaceAll(repository, "/", "_")+"_"+tag)
}

func (fakePublisher) Digest(_ context.Context, repository, tag string) (string, error) {
	if strings.HasPrefix(repository, "down.") {
		return "", &publishers.PublishError{Ref: repository, Stage: "inspect", Err: errors.New("connection refused")}
	}
	b, err := os.ReadFile(tagFile(repository, tag))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

func (fakePublisher) Tag(_ context.Context, repository, digest string, tags []string, _ pipelines.Sink) error {
	for _, t := range tags {
		if strings.HasPrefix(t, "frozen") {
			return &publishers.PublishError{Ref: repository, Stage: "tag", Err: errors.New("tag " + t + " is protected")}
		}
		if err := os.WriteFile(tagFile(repository, t), []byte(digest), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (fakePublisher) Writable(_ context.Context, repository string) error {
	if strings.HasPrefix(repository, "readonly.") {
		return &publishers.PublishError{Ref: repository, Stage: "upload", Err: errors.New("denied")}
	}
	return nil
}

func (fakePublisher) Platforms(_ context.Context, ref string) ([]pipelines.Platform, string, error) {
	return slices.Clone(linuxAll), "sha256:" + strings.Repeat("a", 64), nil
}
