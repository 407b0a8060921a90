package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
)

// caches are where results of steps are looked for and kept.
type caches struct {
	from, to    []builders.CacheRef
	credentials map[string]builders.Credential
	// instead is where results go when the registry of --cache-to auto cannot be
	// written; Type is empty: nowhere.
	instead builders.CacheRef
}

// cacheDir is the directory of the project that a GitLab job's cache is to keep.
const cacheDir = ".cfbuild-cache"

const cacheForm = "write type=registry,ref=HOST/NAME[:TAG][,mode=min], type=local,dir=DIR[,mode=min], a reference, a directory, auto or never"

// writer is a [Publisher] that can tell whether a repository can be written to.
type writer interface {
	Writable(ctx context.Context, repository string) error
}

// caches reads --cache-from and --cache-to. Neither has a default: whoever writes to
// a cache decides what others' images consist of, and whoever reads it trusts them.
func (p *program) caches(from, to []string) (caches, error) {
	var c caches
	credentials, err := p.credentials()
	if err != nil {
		return c, err
	}
	c.credentials = map[string]builders.Credential{}
	for host, k := range credentials {
		c.credentials[host] = builders.Credential{User: k.User, Password: k.Password}
	}
	for _, f := range []struct {
		flag string
		list []string
		into *[]builders.CacheRef
		auto func() []builders.CacheRef
	}{
		{"cache-from", from, &c.from, p.autoFrom},
		{"cache-to", to, &c.to, func() []builders.CacheRef { return p.autoTo(&c) }},
	} {
		for _, s := range f.list {
			refs, err := p.cachePlace(f.flag, s, len(f.list), f.auto)
			if err != nil {
				return c, err
			}
			for _, r := range refs {
				if !slices.Contains(*f.into, r) {
					*f.into = append(*f.into, r)
				}
			}
		}
	}
	return c, nil
}

// cachePlace reads one value of a flag.
func (p *program) cachePlace(flag, s string, values int, auto func() []builders.CacheRef) ([]builders.CacheRef, error) {
	bad := func(cause, fix string) ([]builders.CacheRef, error) {
		return nil, usagef(fix, "--%s %q: %s", flag, s, cause)
	}
	switch {
	case s == "never" && values > 1:
		return bad("other places are named beside it", "leave one or the other out")
	case s == "never":
		return nil, nil
	case s == "auto":
		return auto(), nil
	case s == "":
		return bad("names no place", cacheForm)
	}
	r := builders.CacheRef{Type: builders.CacheLocal, Dir: s}
	if strings.Contains(s, "=") && !strings.ContainsAny(strings.SplitN(s, "=", 2)[0], "/.") {
		var cause, fix string
		if r, cause, fix = cacheFields(flag, s); cause != "" {
			return bad(cause, fix)
		}
	} else if host, _, ok := strings.Cut(s, "/"); ok && hostRE.MatchString(host) {
		r = builders.CacheRef{Type: builders.CacheRegistry, Ref: s}
	} else if near := pipelines.Nearest(s, []string{"auto", "never"}, 1); !strings.Contains(s, "/") && len(near) > 0 {
		return bad("is no place", "did you mean "+near[0]+"? For a directory of that name write ./"+s)
	} else if strings.Contains(s, "://") {
		return bad("is a URL", cacheForm)
	}
	switch r.Type {
	case builders.CacheLocal:
		r.Dir = p.env.path(r.Dir)
	case builders.CacheRegistry:
		if _, _, cause, fix := splitRef(r.Ref); cause != "" {
			return bad(cause, fix)
		}
		r.Ref = strings.TrimSuffix(r.Ref, "/")
	}
	return []builders.CacheRef{r}, nil
}

// cacheFields reads KEY=VALUE,… as docker buildx has them.
func cacheFields(flag, s string) (r builders.CacheRef, cause, fix string) {
	for _, part := range strings.Split(s, ",") {
		k, v, ok := strings.Cut(part, "=")
		to := map[string]*string{"type": &r.Type, "ref": &r.Ref, "dir": &r.Dir, "src": &r.Dir, "dest": &r.Dir, "mode": &r.Mode}[k]
		switch {
		case !ok || v == "":
			return r, fmt.Sprintf("%q is not KEY=VALUE", part), cacheForm
		case to == nil:
			return r, fmt.Sprintf("unknown key %q", k), "there are type, ref, dir (also src and dest) and mode"
		case *to != "":
			return r, "says " + k + " twice", cacheForm
		}
		*to = v
	}
	types := []string{builders.CacheRegistry, builders.CacheLocal}
	switch {
	case r.Type == "":
		return r, "has no type", cacheForm
	case r.Type == builders.CacheInline:
		return r, "the image cannot carry the results of steps", "write type=registry,ref=REPOSITORY: it can be in the project's registry too"
	case !slices.Contains(types, r.Type):
		return r, fmt.Sprintf("unknown type %q", r.Type), "there are " + strings.Join(types, ", ")
	case (r.Type == builders.CacheRegistry) != (r.Ref != ""), (r.Type == builders.CacheLocal) != (r.Dir != ""):
		return r, "a registry takes ref, a local cache dir, and none the other's", cacheForm
	case r.Mode != "" && r.Mode != "max" && r.Mode != "min":
		return r, fmt.Sprintf("unknown mode %q", r.Mode), "max keeps every step, min what the image consists of"
	case r.Mode != "" && flag == "cache-from":
		return r, "mode says what is kept", "give it with --cache-to"
	}
	return r, "", ""
}

// autoRepos are the repositories of --cache-from auto in a GitLab job, the first that
// of --cache-to. What jobs on protected branches read is written by such jobs alone.
func (p *program) autoRepos() []builders.CacheRef {
	image := p.env.Getenv("CI_REGISTRY_IMAGE")
	if image == "" {
		return nil
	}
	registry := func(name string) builders.CacheRef {
		return builders.CacheRef{Type: builders.CacheRegistry, Ref: image + "/" + name}
	}
	guarded := registry("cache-protected")
	if p.env.Getenv("CI_COMMIT_REF_PROTECTED") == "true" {
		return []builders.CacheRef{guarded}
	}
	return []builders.CacheRef{registry("cache"), guarded}
}

// autoDir is the directory that cache: paths of a GitLab job keeps.
func (p *program) autoDir() []builders.CacheRef {
	dir := p.env.Getenv("CI_PROJECT_DIR")
	if dir == "" || p.env.Getenv("GITLAB_CI") != "true" {
		return nil
	}
	return []builders.CacheRef{{Type: builders.CacheLocal, Dir: filepath.Join(dir, cacheDir)}}
}

func (p *program) autoFrom() []builders.CacheRef { return append(p.autoRepos(), p.autoDir()...) }

// autoTo is the registry with the job's credentials, else the directory; outside
// GitLab it is nowhere, as with --push auto.
func (p *program) autoTo(c *caches) []builders.CacheRef {
	repos, dir := p.autoRepos(), p.autoDir()
	if len(repos) == 0 {
		return dir
	}
	host, _, _ := strings.Cut(repos[0].Ref, "/")
	if _, ok := c.credentials[host]; !ok && len(dir) > 0 {
		return dir
	}
	if len(dir) > 0 {
		c.instead = dir[0]
	}
	return repos[:1]
}

// settleCaches asks whether the registry of --cache-to auto takes anything from this
// job, whose project may be a fork's. If it does not, the directory takes its place.
func (p *program) settleCaches(ctx context.Context, r *request, e *engine.Engine) {
	w, ok := r.publisher.(writer)
	if !ok || r.caches.instead.Type == "" {
		return
	}
	i := slices.IndexFunc(e.CacheTo, func(c builders.CacheRef) bool { return c == p.autoRepos()[0] })
	if i < 0 {
		return
	}
	err := w.Writable(ctx, e.CacheTo[i].Ref)
	if err == nil || ctx.Err() != nil {
		return
	}
	e.Events.Send(pipelines.Event{Kind: pipelines.EventWarning,
		Text: fmt.Sprintf("cache %s cannot be written, results of steps go to %s: %v", e.CacheTo[i].Ref, p.env.shown(r.caches.instead.Dir), err)})
	e.CacheTo = slices.Clone(e.CacheTo)
	e.CacheTo[i] = r.caches.instead
}
