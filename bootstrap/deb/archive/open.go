package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

const (
	defaultGrace = time.Second
	// slowFor is how long a mirror that failed is not waited for.
	slowFor = 10 * time.Minute
	// maxRelease bounds a release file; Debian's are about 200 KB.
	maxRelease = 16 << 20
)

// probe is one mirror being asked for one suite.
type probe struct {
	c      *Client
	src    pipelines.PackageSource
	mirror string
	ring   openpgp.EntityList
	now    time.Time
	// sole: there is no other mirror, so more patience is worth while.
	sole bool
}

// answer is what came of a probe. rel is the mirror's release, kept the one of an
// earlier run; either may be nil.
type answer struct {
	i         int
	rel, kept *Release
	err       error
}

// Open fetches and verifies the freshest release of a suite that the mirrors
// offer: all are asked at once, and once one has answered well the others have
// [Client.Grace] left. A mirror that shows less than an earlier run has seen is
// stale. The error is a *[MirrorsError], a [pipelines.InvalidError], one about the
// keyring or the cache, or the context's.
func (c *Client) Open(ctx context.Context, src pipelines.PackageSource, mirrors []string, keys site.Keyring, now time.Time, ev pipelines.Sink) (*Suite, error) {
	mirrors = bases(mirrors)
	if err := checkSource(src, mirrors); err != nil {
		return nil, err
	}
	ring, err := keyring(src.Repository, keys)
	if err != nil {
		return nil, err
	}
	what := "release " + src.Suite
	answers := make([]answer, len(mirrors))
	if c.Offline {
		for i, m := range mirrors {
			p := probe{c: c, src: src, mirror: m, ring: ring, now: now}
			answers[i] = answer{i: i, kept: p.kept(c.loadState(m, src.Suite)), err: ErrOffline}
		}
	} else {
		c.ask(ctx, src, mirrors, ring, now, answers)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return choose(what, src, mirrors, answers, c.Offline, ev)
}

// ask probes all mirrors and fills in answers.
func (c *Client) ask(ctx context.Context, src pipelines.PackageSource, mirrors []string, ring openpgp.EntityList, now time.Time, answers []answer) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan answer, len(mirrors))
	waited := 0
	states := make([]state, len(mirrors))
	for i, m := range mirrors {
		p := probe{c: c, src: src, mirror: m, ring: ring, now: now, sole: len(mirrors) == 1}
		states[i] = c.loadState(m, src.Suite)
		answers[i] = answer{i: i, err: errors.New("it did not answer in time")}
		if !recent(states[i].SlowAt, now) {
			waited++
		}
		go func() {
			rel, same, err := p.fetch(ctx, states[i])
			a := answer{i: i, rel: rel, err: err}
			if !same {
				a.kept = p.kept(states[i])
			}
			results <- a
		}()
	}
	var grace <-chan time.Time
	good, pending := false, len(mirrors)
	done := make([]bool, len(mirrors))
	for pending > 0 && !(good && waited <= 0) {
		select {
		case a := <-results:
			pending--
			done[a.i] = true
			if !recent(states[a.i].SlowAt, now) {
				waited--
			}
			answers[a.i] = a
			if a.err == nil && !good {
				good = true
				g := cmp.Or(c.Grace, defaultGrace)
				t := time.NewTimer(g)
				defer t.Stop()
				grace = t.C
			}
		case <-grace:
			waited = 0
		case <-ctx.Done():
			return
		}
	}
	for i := range mirrors {
		failed := answers[i].err != nil
		if late := !done[i] && recent(states[i].SlowAt, now); late {
			continue // known to be slow, and still is
		}
		if failed != !states[i].SlowAt.IsZero() {
			// The release itself was saved by the probe.
			s := c.loadState(mirrors[i], src.Suite)
			s.SlowAt = time.Time{}
			if failed {
				s.SlowAt = now
			}
			// A cache that cannot be written shows at the first package.
			_ = c.saveState(s)
		}
	}
}

func recent(t, now time.Time) bool { return !t.IsZero() && now.Sub(t).Abs() < slowFor }

// choose takes the freshest release and orders the mirrors behind it.
func choose(what string, src pipelines.PackageSource, mirrors []string, answers []answer, offline bool, ev pipelines.Sink) (*Suite, error) {
	ok := func(a answer) bool { return a.err == nil || offline && a.kept != nil }
	if !slices.ContainsFunc(answers, ok) {
		e := &MirrorsError{What: what}
		for _, a := range answers {
			e.Faults = append(e.Faults, Fault{mirrors[a.i], a.err})
		}
		return nil, e
	}
	var rels []*Release
	for _, a := range answers {
		for _, r := range []*Release{a.rel, a.kept} {
			if r != nil && !slices.ContainsFunc(rels, func(x *Release) bool { return x.Digest == r.Digest }) {
				rels = append(rels, r)
			}
		}
	}
	// The newest first; of two made in the same second, that of the mirror that
	// comes first.
	slices.SortStableFunc(rels, func(a, b *Release) int { return b.Date.Compare(a.Date) })
	var suites []*Suite
	for _, r := range rels {
		suites = append(suites, &Suite{Source: src, Mirrors: order(mirrors, answers, r), Release: *r})
	}
	suites[0].Older = suites[1:]
	if !offline {
		report(what, mirrors, answers, rels[0], ev)
	}
	return suites[0], nil
}

// order puts the mirrors that offer a release first, then those that offer
// another, whose by-hash files may still or already be there, then the rest.
func order(mirrors []string, answers []answer, r *Release) []string {
	rank := func(a answer) int {
		switch {
		case a.rel != nil && a.rel.Digest == r.Digest:
			return 0
		case a.err == nil:
			return 1
		}
		return 2
	}
	sorted := slices.Clone(answers)
	slices.SortStableFunc(sorted, func(a, b answer) int { return rank(a) - rank(b) })
	var out []string
	for _, a := range sorted {
		out = append(out, mirrors[a.i])
	}
	return out
}

// report warns about the mirrors that were of no use.
func report(what string, mirrors []string, answers []answer, best *Release, ev pipelines.Sink) {
	for _, a := range answers {
		err := a.err
		if a.rel != nil && a.rel.Date.Before(best.Date) {
			err = fmt.Errorf("%w: its release is of %s, there is one of %s", ErrStale,
				a.rel.Date.Format(time.DateTime), best.Date.Format(time.DateTime))
		}
		if err != nil {
			ev.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "release",
				Text: fmt.Sprintf("%s: mirror %s: %s", what, httpx.Redact(mirrors[a.i]), reason(Fault{mirrors[a.i], err}))})
		}
	}
}

// checkSource looks at what the definition and the site say.
func checkSource(src pipelines.PackageSource, mirrors []string) error {
	bad := func(cause, fix string) error {
		return &pipelines.InvalidError{What: fmt.Sprintf("package source %q of repository %q", src.Suite, src.Repository), Cause: cause, Fix: fix}
	}
	if src.Suite == "" || src.Suite != path.Clean(src.Suite) || strings.HasPrefix(src.Suite, "/") || strings.HasPrefix(src.Suite, "..") || strings.ContainsAny(src.Suite, " \t\n?#%") {
		return bad("is no suite", "name the directory below dists/, such as bookworm; flat repositories are not supported")
	}
	if len(mirrors) == 0 {
		return bad("has no mirror", fmt.Sprintf("list mirrors of %q in the site, or in the source itself", src.Repository))
	}
	return nil
}

// kept gives the release of an earlier run if it is still good.
func (p probe) kept(s state) *Release {
	if len(s.Signed) == 0 {
		return nil
	}
	r, err := p.read(s)
	if err != nil {
		return nil
	}
	return r
}

// read verifies and parses.
func (p probe) read(s state) (*Release, error) {
	text, signer := s.Signed, ""
	var err error
	if s.Inline {
		text, signer, err = openInline(p.ring, s.Signed)
	} else {
		signer, err = openDetached(p.ring, s.Signed, s.Sigs)
	}
	if err != nil {
		return nil, err
	}
	r, err := parseRelease(text)
	if err != nil {
		return nil, err
	}
	r.SignedBy = signer
	return &r, r.check(p.src, p.now)
}

// fetch asks the mirror, with the condition that its answer is not the one of the
// state; same says that it is. A good release is saved.
func (p probe) fetch(ctx context.Context, old state) (r *Release, same bool, err error) {
	dir := join(p.mirror, "dists/"+p.src.Suite)
	attempts := 0
	if !p.sole {
		attempts = 2
	}
	req := httpx.Request{URL: dir + "/InRelease", Limit: maxRelease, Attempts: attempts, NoCache: true}
	if old.Inline && len(old.Signed) > 0 {
		req.IfNoneMatch, req.IfModifiedSince = old.ETag, old.LastModified
	}
	data, resp, err := p.c.HTTP.ReadAll(ctx, req)
	if notFound(err) {
		return p.fetchDetached(ctx, dir, old, attempts)
	}
	if err != nil {
		return nil, false, err
	}
	if resp.NotModified {
		r, err = p.read(old)
		return r, true, err
	}
	s := state{Mirror: p.mirror, Suite: p.src.Suite, ETag: resp.ETag, LastModified: resp.LastModified, Inline: true, Signed: data}
	return p.take(ctx, old, s)
}

// fetchDetached is for archives without InRelease.
func (p probe) fetchDetached(ctx context.Context, dir string, old state, attempts int) (r *Release, same bool, err error) {
	get := func(name string) ([]byte, error) {
		data, _, err := p.c.HTTP.ReadAll(ctx, httpx.Request{URL: dir + "/" + name, Limit: maxRelease, Attempts: attempts, NoCache: true})
		return data, err
	}
	// The two files can be of different states while a mirror is updated.
	for try := 0; ; try++ {
		text, err := get("Release")
		if err != nil {
			return nil, false, err
		}
		sigs, err := get("Release.gpg")
		if err != nil {
			return nil, false, err
		}
		r, same, err = p.take(ctx, old, state{Mirror: p.mirror, Suite: p.src.Suite, Signed: text, Sigs: sigs})
		if try == 0 && errors.Is(err, ErrSignature) {
			continue
		}
		return r, same, err
	}
}

// take verifies what came and saves it when it is good and new.
func (p probe) take(ctx context.Context, old, s state) (r *Release, same bool, err error) {
	if r, err = p.read(s); err != nil {
		return nil, false, err
	}
	same = s.Inline == old.Inline && bytes.Equal(s.Signed, old.Signed) && bytes.Equal(s.Sigs, old.Sigs)
	if same && s.ETag == old.ETag && s.LastModified == old.LastModified || ctx.Err() != nil {
		return r, same, nil
	}
	if kept := p.kept(old); !same && kept != nil && kept.Date.After(r.Date) {
		// The mirror went back in time: what was seen is not forgotten.
		return r, false, nil
	}
	return r, same, p.c.saveState(s)
}

func notFound(err error) bool {
	var e *httpx.Error
	return errors.As(err, &e) && e.Kind == httpx.NotFound
}
