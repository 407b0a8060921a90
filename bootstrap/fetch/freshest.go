package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

const (
	defaultGrace = time.Second
	// slowFor is how long a mirror that failed is not waited for.
	slowFor = 10 * time.Minute
)

// Metadata is one state of a repository, its signature verified.
type Metadata interface {
	// ID is the digest of the signed text: two mirrors of one state have the same.
	ID() string
	// Made is when the repository made it.
	Made() time.Time
}

// Question is what [Freshest] asks mirrors for.
type Question[M Metadata] struct {
	// What is asked for, for errors and events: "release bookworm".
	What string
	// Name is what of a mirror it is, for the cache: "bookworm".
	Name string
	// Mirrors are base URLs as [Bases] has them, in order of preference.
	Mirrors []string
	// Now is the clock that a mirror's slowness is remembered by.
	Now time.Time
	// Missing is the hint where a mirror answers that it has no such thing.
	Missing string
	// Fetch asks one mirror, at most attempts times (0: as the HTTP client is
	// set). old is what is kept of that mirror, for a conditional request; same
	// says that the mirror still has it.
	Fetch func(ctx context.Context, mirror string, attempts int, old Kept) (k Kept, same bool, err error)
	// Read verifies what a mirror served, and reads it. Its errors match the
	// sentinels of this package.
	Read func(Kept) (M, error)
}

// Offer is metadata and the mirrors to use with it: those that offer it first, in
// the order of the question.
type Offer[M Metadata] struct {
	Meta    M
	Mirrors []string
}

// answer is what came of asking one mirror: its metadata, and that of an earlier
// run; either may be nil.
type answer[M Metadata] struct {
	i         int
	meta, old *M
	err       error
}

// Freshest fetches and verifies metadata from all mirrors at once; once one has
// answered well the others have [Client.Grace] left. What mirrors offer, or the
// cache still holds, comes back with the newest first: the others are what to fall
// back to when no mirror has the files of the first. A mirror that shows less than an
// earlier run has seen is stale. The error is a *[MirrorsError], a *[CacheError], or
// the context's.
func Freshest[M Metadata](ctx context.Context, c *Client, q Question[M], ev pipelines.Sink) ([]Offer[M], error) {
	answers := make([]answer[M], len(q.Mirrors))
	if c.Offline {
		for i, m := range q.Mirrors {
			answers[i] = answer[M]{i: i, old: q.read(c.loadState(m, q.Name).kept()), err: ErrOffline}
		}
	} else {
		q.ask(ctx, c, answers)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return q.choose(answers, c.Offline, ev)
}

// read gives what is kept if it is still good.
func (q Question[M]) read(k Kept) *M {
	if k.Empty() {
		return nil
	}
	m, err := q.Read(k)
	if err != nil {
		return nil
	}
	return &m
}

// ask probes all mirrors and fills in answers.
func (q Question[M]) ask(ctx context.Context, c *Client, answers []answer[M]) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan answer[M], len(q.Mirrors))
	waited := 0
	states := make([]state, len(q.Mirrors))
	for i, m := range q.Mirrors {
		states[i] = c.loadState(m, q.Name)
		answers[i] = answer[M]{i: i, err: errors.New("it did not answer in time")}
		if !recent(states[i].SlowAt, q.Now) {
			waited++
		}
		go func() {
			meta, same, err := q.probe(ctx, c, m, states[i])
			a := answer[M]{i: i, meta: meta, err: err}
			if !same {
				a.old = q.read(states[i].kept())
			}
			results <- a
		}()
	}
	var grace <-chan time.Time
	good, pending := false, len(q.Mirrors)
	done := make([]bool, len(q.Mirrors))
	for pending > 0 && !(good && waited <= 0) {
		select {
		case a := <-results:
			pending--
			done[a.i] = true
			if !recent(states[a.i].SlowAt, q.Now) {
				waited--
			}
			answers[a.i] = a
			if a.err == nil && !good {
				good = true
				t := time.NewTimer(cmp.Or(c.Grace, defaultGrace))
				defer t.Stop()
				grace = t.C
			}
		case <-grace:
			waited = 0
		case <-ctx.Done():
			return
		}
	}
	for i, m := range q.Mirrors {
		failed := answers[i].err != nil
		if late := !done[i] && recent(states[i].SlowAt, q.Now); late {
			continue // known to be slow, and still is
		}
		if failed != !states[i].SlowAt.IsZero() {
			// The metadata itself was saved by the probe.
			s := c.loadState(m, q.Name)
			s.SlowAt = time.Time{}
			if failed {
				s.SlowAt = q.Now
			}
			// A cache that cannot be written shows at the first file.
			_ = c.saveState(s)
		}
	}
}

func recent(t, now time.Time) bool { return !t.IsZero() && now.Sub(t).Abs() < slowFor }

// probe asks one mirror; same says that it has what is kept of it. What is good is
// saved.
func (q Question[M]) probe(ctx context.Context, c *Client, mirror string, old state) (m *M, same bool, err error) {
	attempts := 2
	if len(q.Mirrors) == 1 {
		attempts = 0 // there is no other: more patience is worth while
	}
	k, same, err := q.Fetch(ctx, mirror, attempts, old.kept())
	if err != nil {
		return nil, false, err
	}
	if same {
		k = old.kept()
	}
	got, err := q.Read(k)
	if err != nil || same {
		return &got, same, err
	}
	before := old.kept()
	same = k.same(before)
	if same && k.ETag == before.ETag && k.LastModified == before.LastModified || ctx.Err() != nil {
		return &got, same, nil
	}
	if seen := q.read(before); !same && seen != nil && (*seen).Made().After(got.Made()) {
		// The mirror went back in time: what was seen is not forgotten.
		return &got, false, nil
	}
	return &got, same, c.saveState(old.with(k))
}

// choose orders what was offered, and for each the mirrors behind it.
func (q Question[M]) choose(answers []answer[M], offline bool, ev pipelines.Sink) ([]Offer[M], error) {
	ok := func(a answer[M]) bool { return a.err == nil || offline && a.old != nil }
	if !slices.ContainsFunc(answers, ok) {
		e := &MirrorsError{What: q.What, Missing: q.Missing}
		for _, a := range answers {
			e.Faults = append(e.Faults, Fault{q.Mirrors[a.i], a.err})
		}
		return nil, e
	}
	var all []M
	for _, a := range answers {
		for _, m := range []*M{a.meta, a.old} {
			if m != nil && (m != a.meta || a.err == nil) && !slices.ContainsFunc(all, func(x M) bool { return x.ID() == (*m).ID() }) {
				all = append(all, *m)
			}
		}
	}
	// The newest first; of two made in the same second, that of the mirror that
	// comes first.
	slices.SortStableFunc(all, func(a, b M) int { return b.Made().Compare(a.Made()) })
	var out []Offer[M]
	for _, m := range all {
		out = append(out, Offer[M]{m, q.order(answers, m)})
	}
	if !offline {
		q.report(answers, all[0], ev)
	}
	return out, nil
}

// order puts the mirrors that offer some metadata first, then those that offer
// other, whose files may still or already be there, then the rest.
func (q Question[M]) order(answers []answer[M], m M) []string {
	rank := func(a answer[M]) int {
		switch {
		case a.err != nil:
			return 2
		case (*a.meta).ID() == m.ID():
			return 0
		}
		return 1
	}
	sorted := slices.Clone(answers)
	slices.SortStableFunc(sorted, func(a, b answer[M]) int { return rank(a) - rank(b) })
	var out []string
	for _, a := range sorted {
		out = append(out, q.Mirrors[a.i])
	}
	return out
}

// report warns about the mirrors that were of no use.
func (q Question[M]) report(answers []answer[M], best M, ev pipelines.Sink) {
	for _, a := range answers {
		err := a.err
		if err == nil && (*a.meta).Made().Before(best.Made()) {
			err = fmt.Errorf("%w: what it has is of %s, there is one of %s", ErrStale,
				(*a.meta).Made().Format(time.DateTime), best.Made().Format(time.DateTime))
		}
		if err != nil {
			ev.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "release",
				Text: fmt.Sprintf("%s: mirror %s: %s", q.What, httpx.Redact(q.Mirrors[a.i]), Fault{q.Mirrors[a.i], err}.reason())})
		}
	}
}
