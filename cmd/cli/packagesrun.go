package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
	"github.com/cfbuild/cfbuild/publishers/gitlab"
)

// orasScheme before a reference of --push means that SIF files are pushed there.
const orasScheme = "oras://"

// sifPlace is where a run publishes SIF files; the zero sifPlace is nowhere.
type sifPlace struct {
	// packages is GitLab's package registry; nil: not there. Package and Version
	// are filled in, the package for each target.
	packages *gitlab.Options
	// repos are repositories by target.
	repos map[string]string
}

// sifPusher is a [Publisher] that takes SIF files.
type sifPusher interface {
	PushSIF(ctx context.Context, path, target string, platform pipelines.Platform, repository string, tags []string, ev pipelines.Sink) (pipelines.Receipt, error)
}

// sifPlace decides where SIF files go. With --push auto in a GitLab job they go to
// the project's package registry, and images go nowhere unless another format is
// asked for too.
func (p *program) sifPlace(r *request) (sifPlace, error) {
	var place sifPlace
	f := r.flags
	has := slices.Contains(f.formats.values, string(pipelines.FormatSIF))
	oras := strings.HasPrefix(f.push, orasScheme)
	switch {
	case oras && !has:
		return place, usagef("add --format sif", "--push %q: no SIF file is made", f.push)
	case oras:
		place.repos, r.repos = r.repos, nil
		return place, nil
	case !has || f.push != "auto":
		return place, nil
	}
	if len(f.formats.values) == 1 {
		r.repos = nil
	}
	get := p.env.Getenv
	if get("CI_API_V4_URL") == "" || get("CI_PROJECT_ID") == "" {
		return place, nil
	}
	o, err := p.packages(packagesFlags{})
	if err != nil {
		return place, err
	}
	o.Site, o.Policy = r.site, gitlab.Policy(f.onConflict.value)
	switch names := r.tags.Names(); {
	case len(f.tags) > 0 && len(names) > 0:
		o.Version = names[0]
	case get("CI_COMMIT_TAG") != "":
		o.Version = get("CI_COMMIT_TAG")
	case len(get("CI_COMMIT_SHA")) >= 8:
		o.Version = get("CI_COMMIT_SHA")[:8]
	default:
		return place, usagef("name it with --tag", "package version: neither --tag nor CI_COMMIT_TAG nor CI_COMMIT_SHA gives one")
	}
	for _, t := range r.targets {
		o.Package = t.Name
		if err := gitlab.Check(o, sifName(t.Name, o.Version, "amd64")); err != nil {
			return place, err
		}
	}
	place.packages = &o
	return place, nil
}

// sifName is the name of a SIF file in a package.
func sifName(target, version, arch string) string {
	return target + "-" + version + "-" + arch + ".sif"
}

// pushSIFs publishes the SIF files that were delivered, target by target.
func (p *program) pushSIFs(ctx context.Context, r *request, outputs []engine.Output, made []artifactReport, sink pipelines.Sink) ([]pipelines.Receipt, error) {
	var receipts []pipelines.Receipt
	if r.sifs.packages == nil && len(r.sifs.repos) == 0 {
		return nil, nil
	}
	var errs error
	for _, t := range r.targets {
		var files []engine.Output
		for _, o := range outputs {
			if o.Target == t.Name && o.Format == pipelines.FormatSIF {
				files = append(files, o)
			}
		}
		if len(files) == 0 {
			continue
		}
		ev := sink.With(t.Name, "push")
		name := "push SIF files"
		ev.Send(pipelines.Event{Kind: pipelines.EventStart, Name: name})
		var got []pipelines.Receipt
		var err error
		if r.sifs.packages != nil {
			got, err = p.toPackages(ctx, *r.sifs.packages, files, made, ev)
		} else {
			got, err = p.toRepository(ctx, r, files, ev)
		}
		receipts = append(receipts, got...)
		if err != nil {
			ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Name: name, Text: err.Error()})
			errs = errors.Join(errs, err)
			continue
		}
		ev.Send(pipelines.Event{Kind: pipelines.EventDone, Name: name})
	}
	return receipts, errs
}

// toRepository pushes each platform with tags of its own: TAG-ARCH.
func (p *program) toRepository(ctx context.Context, r *request, files []engine.Output, ev pipelines.Sink) ([]pipelines.Receipt, error) {
	pusher, ok := r.publisher.(sifPusher)
	if !ok {
		return nil, errors.New("publisher: this program's cannot push SIF files")
	}
	var out []pipelines.Receipt
	for _, f := range files {
		var tags []string
		for _, t := range r.tags.Names() {
			tags = append(tags, t+"-"+f.Platforms[0].Short())
		}
		got, err := pusher.PushSIF(ctx, f.Path, f.Target, f.Platforms[0], r.sifs.repos[f.Target], tags, ev)
		if err != nil {
			return out, err
		}
		out = append(out, got)
	}
	return out, nil
}

// sifMeta is what NAME.sif.json says of a SIF file beside its size and hash.
type sifMeta struct {
	Target   string `json:"target"`
	Version  string `json:"version"`
	Platform string `json:"platform"`
	// Image is the digest of the image the file was made of.
	Image  string `json:"image,omitempty"`
	ID     string `json:"sif_id"`
	Arch   string `json:"sif_arch"`
	Labels any    `json:"labels,omitempty"`
}

func (p *program) toPackages(ctx context.Context, o gitlab.Options, files []engine.Output, made []artifactReport, ev pipelines.Sink) ([]pipelines.Receipt, error) {
	o.Package, o.Events = files[0].Target, ev
	var publish []gitlab.File
	for _, f := range files {
		m, err := p.describeSIF(f, o.Version, made)
		if err != nil {
			return nil, err
		}
		publish = append(publish, gitlab.File{Name: sifName(f.Target, o.Version, f.Platforms[0].Short()), Path: f.Path, Meta: m})
	}
	got, err := gitlab.Publish(ctx, publish, o)
	if err != nil {
		return nil, err
	}
	var out []pipelines.Receipt
	for i, f := range files {
		for _, s := range got.Files {
			if s.Name != publish[i].Name {
				continue
			}
			r := pipelines.Receipt{Target: f.Target, Ref: got.URL + s.Name, Digest: "sha256:" + s.SHA256,
				MediaType: sifMediaType, Platforms: f.Platforms}
			if s.Sent {
				r.Pushed = s.Size
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// sifMediaType is that of SIF files in registries; it stands for the format.
const sifMediaType = "application/vnd.sylabs.sif.layer.v1.sif"

func (p *program) describeSIF(f engine.Output, version string, made []artifactReport) (sifMeta, error) {
	m := sifMeta{Target: f.Target, Version: version, Platform: f.Platforms[0].String()}
	for _, a := range made {
		if a.Target == f.Target && a.Platform == f.Platforms[0] {
			m.Image = a.Digest
		}
	}
	i, err := sif.Open(f.Path)
	if err != nil {
		return m, fmt.Errorf("%s: %w", filepath.Base(f.Path), err)
	}
	defer i.Close()
	attributes, err := i.Attributes()
	if err != nil {
		return m, fmt.Errorf("%s: %w", filepath.Base(f.Path), err)
	}
	m.ID, m.Arch, m.Labels = i.ID, i.Arch, attributes["labels"]
	return m, nil
}
