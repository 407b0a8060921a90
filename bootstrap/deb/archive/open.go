package archive

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// maxRelease bounds a release file; Debian's are about 200 KB.
const maxRelease = 16 << 20

// inline is the form of InRelease; without it the parts are Release and Release.gpg.
const inline = "inline"

// question is one suite being asked for.
type question struct {
	c    *Client
	src  pipelines.PackageSource
	ring openpgp.EntityList
	now  time.Time
}

// Open fetches and verifies the freshest release of a suite that the mirrors
// offer, as [fetch.Freshest] does. The error is a *[MirrorsError],
// whose hint lists what there is where a mirror lacks the suite, a
// [pipelines.InvalidError], one about the keyring or the cache, or the context's.
func (c *Client) Open(ctx context.Context, src pipelines.PackageSource, mirrors []string, keys site.Keyring, now time.Time, ev pipelines.Sink) (*Suite, error) {
	mirrors = fetch.Bases(mirrors)
	if err := checkSource(src, mirrors); err != nil {
		return nil, err
	}
	ring, err := keyring(src.Repository, keys)
	if err != nil {
		return nil, err
	}
	q := question{c: c, src: src, ring: ring, now: now}
	offers, err := fetch.Freshest(ctx, c.fetcher(), fetch.Question[*Release]{
		What: "release " + src.Suite, Name: src.Suite, Mirrors: mirrors, Now: now, Missing: missing, Fetch: q.fetch, Read: q.read,
	}, ev)
	if err != nil {
		c.whatThereIs(ctx, src, err)
		return nil, err
	}
	var suites []*Suite
	for _, o := range offers {
		suites = append(suites, &Suite{Source: src, Mirrors: o.Mirrors, Release: *o.Meta})
	}
	suites[0].Older = suites[1:]
	return suites[0], nil
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

// read verifies and parses.
func (q question) read(k fetch.Kept) (*Release, error) {
	text, signer := k.Parts[0], ""
	var err error
	if k.Form == inline {
		text, signer, err = openInline(q.ring, text)
	} else {
		signer, err = openDetached(q.ring, text, k.Parts[1])
	}
	if err != nil {
		return nil, err
	}
	r, err := parseRelease(text)
	if err != nil {
		return nil, err
	}
	r.SignedBy = signer
	return &r, r.check(q.src, q.now)
}

// fetch asks a mirror, with the condition that its answer is not the one kept.
func (q question) fetch(ctx context.Context, mirror string, attempts int, old fetch.Kept) (k fetch.Kept, same bool, err error) {
	dir := fetch.Join(mirror, "dists/"+q.src.Suite)
	req := httpx.Request{URL: dir + "/InRelease", Limit: maxRelease, Attempts: attempts, NoCache: true}
	if old.Form == inline && !old.Empty() {
		req.IfNoneMatch, req.IfModifiedSince = old.ETag, old.LastModified
	}
	data, resp, err := q.c.HTTP.ReadAll(ctx, req)
	if fetch.NotFound(err) {
		k, err = q.fetchDetached(ctx, dir, attempts)
		return k, false, err
	}
	if err != nil || resp.NotModified {
		return k, err == nil, err
	}
	return fetch.Kept{ETag: resp.ETag, LastModified: resp.LastModified, Form: inline, Parts: [][]byte{data}}, false, nil
}

// fetchDetached is for archives without InRelease.
func (q question) fetchDetached(ctx context.Context, dir string, attempts int) (fetch.Kept, error) {
	get := func(name string) ([]byte, error) {
		data, _, err := q.c.HTTP.ReadAll(ctx, httpx.Request{URL: dir + "/" + name, Limit: maxRelease, Attempts: attempts, NoCache: true})
		return data, err
	}
	// The two files can be of different states while a mirror is updated.
	for try := 0; ; try++ {
		text, err := get("Release")
		if err != nil {
			return fetch.Kept{}, err
		}
		sigs, err := get("Release.gpg")
		if err != nil {
			return fetch.Kept{}, err
		}
		k := fetch.Kept{Parts: [][]byte{text, sigs}}
		if _, err := q.read(k); try == 0 && errors.Is(err, ErrSignature) {
			continue
		}
		return k, nil
	}
}
