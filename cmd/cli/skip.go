package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
)

// retagger is a [Publisher] that can tell what is published, and name it anew.
type retagger interface {
	// Digest of what a tag stands for, empty where there is none.
	Digest(ctx context.Context, repository, tag string) (string, error)
	// Tag sets tags to a manifest that is there.
	Tag(ctx context.Context, repository, digest string, tags []string, ev pipelines.Sink) error
}

// markPrefix begins the tags that say which inputs an image was made from.
const markPrefix = "cf-"

// skipFlags checks what --skip-published goes with.
func (r *request) skipFlags() error {
	f := r.flags
	switch {
	case !f.skipPublished:
		return nil
	case f.noCache:
		return usagef("leave one of them out", "--skip-published: --no-cache runs every step again")
	case !slices.Equal(f.formats.values, []string{string(pipelines.FormatOCI)}):
		return usagef("leave --format or --skip-published out", "--skip-published: --format %s wants files written, which a run that builds nothing does not", f.formats.String())
	case len(r.repos) == 0:
		return usagef("name the repository with --push", "--skip-published: nothing is pushed")
	}
	return nil
}

// programID names the program in input keys. A version that says which sources it is
// made of is enough; without, it is the program's own content.
func (p *program) programID() (string, error) {
	b := p.buildInfo()
	if b.Version != "devel" && !b.Modified && !strings.Contains(b.Version, "+dirty") {
		return strings.Join([]string{b.Name, b.Version, b.Library, b.Commit}, " "), nil
	}
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("--skip-published: this program cannot be told from others: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return b.Name + " " + hex.EncodeToString(h.Sum(nil)), nil
}

// mark is the tag of a target's inputs. It is empty when these are not known. With
// tests it is one that only a run sets in which these tests passed.
func mark(keys map[pipelines.Platform]string, mediaType string, tests json.RawMessage) string {
	for _, k := range keys {
		if k == "" {
			return ""
		}
	}
	if len(keys) == 0 {
		return ""
	}
	b, err := json.Marshal(struct { // maps marshal in the order of their keys
		Keys      map[pipelines.Platform]string `json:"keys"`
		MediaType string                        `json:"media_type"`
		Tests     json.RawMessage               `json:"tests,omitempty"`
	}{keys, mediaType, tests})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return markPrefix + hex.EncodeToString(sum[:16])
}

// judged encodes the tests of a target. Those with a network have results that no
// input decides.
func judged(t pipelines.Target) (tests json.RawMessage, ok bool) {
	for _, test := range t.Tests {
		bare, _ := pipelines.Declared(test)
		if c, is := bare.(pipelines.TestCommand); is && c.Network == pipelines.NetworkHost {
			return nil, false
		}
	}
	tests, err := pipelines.EncodeTests(t.Tests)
	return tests, err == nil
}

// wantedMark is the tag that says that a target need not be built.
func (r *request) wantedMark(t pipelines.Target, keys map[pipelines.Platform]string) string {
	if !r.flags.test {
		return mark(keys, r.flags.mediaType.value, nil)
	}
	tests, ok := judged(t)
	if !ok {
		return ""
	}
	return mark(keys, r.flags.mediaType.value, tests)
}

// unpublished takes the targets out of a plan that are published already, by their
// inputs, under all tags they are to have. One that lacks only tags gets them.
func (p *program) unpublished(ctx context.Context, r *request, e *engine.Engine, pl pipelines.Plan) (pipelines.Plan, error) {
	asker, ok := r.publisher.(retagger)
	if !ok {
		return pl, errors.New("--skip-published: this program's publisher cannot be asked")
	}
	jobs := pl.Jobs
	pl.Jobs = nil
	for _, t := range r.targets {
		mine := slices.DeleteFunc(slices.Clone(jobs), func(j pipelines.Job) bool { return j.Target != t.Name })
		if len(mine) == 0 {
			continue
		}
		receipt, err := p.published(ctx, r, e, asker, t, mine)
		if ctx.Err() != nil {
			return pl, context.Cause(ctx)
		}
		if err != nil {
			e.Events.Send(pipelines.Event{Kind: pipelines.EventWarning, Text: fmt.Sprintf("%s: whether it is published cannot be told, so it is built: %v", t.Name, err)})
		}
		if receipt == nil {
			pl.Jobs = append(pl.Jobs, mine...)
			continue
		}
		r.skipped = append(r.skipped, *receipt)
	}
	return pl, nil
}

// published gives the receipt of a target that need not be built, or nil.
func (p *program) published(ctx context.Context, r *request, e *engine.Engine, asker retagger, t pipelines.Target, jobs []pipelines.Job) (*pipelines.Receipt, error) {
	ev := e.Events.With(t.Name, "push")
	note := func(format string, args ...any) {
		ev.Send(pipelines.Event{Kind: pipelines.EventNote, Text: t.Name + ": " + fmt.Sprintf(format, args...)})
	}
	keys := map[pipelines.Platform]string{}
	var platforms []pipelines.Platform
	for _, j := range jobs {
		key, err := e.Inputs(ctx, j)
		if err != nil {
			return nil, err
		}
		keys[j.Platform] = key
		platforms = append(platforms, j.Platform)
	}
	tag, repo := r.wantedMark(t, keys), r.repos[t.Name]
	if tag == "" {
		note("its inputs, or the results of its tests, cannot be known beforehand: it is built")
		return nil, nil
	}
	digest, err := asker.Digest(ctx, repo, tag)
	if err != nil {
		return nil, err
	}
	if digest == "" {
		note("%s has no tag %s: it is built", repo, tag)
		return nil, nil
	}
	var missing []string
	for _, name := range r.tags.Names() {
		have, err := asker.Digest(ctx, repo, name)
		if err != nil {
			return nil, err
		}
		if have != digest {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		note("is published, and gets the tags %s", strings.Join(missing, ", "))
		if err := asker.Tag(ctx, repo, digest, missing, ev); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(platforms, pipelines.ComparePlatforms)
	ev.Send(pipelines.Event{Kind: pipelines.EventCached, Name: "push to " + repo, Text: "already published: " + digest})
	return &pipelines.Receipt{Target: t.Name, Ref: repo, Tags: r.tags.Names(), Digest: digest, MediaType: listType(r.flags.mediaType.value),
		Platforms: platforms, Skipped: true}, nil
}

// listType is the media type of a list of the platforms.
func listType(family string) string {
	if family == "oci" {
		return "application/vnd.oci.image.index.v1+json"
	}
	return "application/vnd.docker.distribution.manifest.list.v2+json"
}

// marks are the tags that tell later runs which inputs were published, by target.
func (r *request) marks(built engine.Built) map[string][]string {
	if !r.flags.skipPublished {
		return nil
	}
	keys := map[string]map[pipelines.Platform]string{}
	for _, a := range built.Artifacts {
		if keys[a.Target] == nil {
			keys[a.Target] = map[pipelines.Platform]string{}
		}
		keys[a.Target][a.Platform] = a.Inputs
	}
	out := map[string][]string{}
	for _, t := range r.targets {
		all := []string{mark(keys[t.Name], r.flags.mediaType.value, nil)}
		if r.flags.test { // what did not pass is not pushed
			all = append(all, r.wantedMark(t, keys[t.Name]))
		}
		for _, m := range all {
			if m != "" && !slices.Contains(out[t.Name], m) {
				out[t.Name] = append(out[t.Name], m)
			}
		}
	}
	return out
}
