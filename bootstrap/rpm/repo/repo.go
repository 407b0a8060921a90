// Package repo reads RPM repositories: repomd.xml from the freshest mirror, its
// signature verified, then the packages that primary.xml lists, by checksum.
//
// The format has no specification; createrepo_c and libsolv are what it is read
// by. A repository without a signature of its metadata (CentOS's and Fedora's have
// none) is taken as it is, and trust rests on the signatures of the packages.
package repo

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
	"github.com/cfbuild/cfbuild/internal/pgp"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// ErrRelease: a mirror has the repository's parent and not the repository.
var ErrRelease = errors.New("no such release")

// maxRepomd bounds a repomd.xml, in bytes; Fedora's has 8 KB.
const maxRepomd = 4 << 20

// Repo is one repository, its metadata verified as far as they are signed.
type Repo struct {
	Source pipelines.PackageSource
	// Path is the source's suite with its variables replaced.
	Path string
	// Mirrors are base URLs, those that have Meta first.
	Mirrors []string
	Meta    *Metadata
	// Ring are the keys that sign it and its packages.
	Ring openpgp.EntityList
	// Older are other states that mirrors offered or the cache holds, the newest
	// first.
	Older []*Repo
}

// Client opens repositories.
type Client struct {
	*fetch.Client
	// Keys gives the distribution's own public keys for a repository and suite, nil
	// for none.
	Keys func(repository, suite string) []byte
	// NoListing: what a mirror has instead of a repository that is not there is not
	// asked for.
	NoListing bool
}

// Arch is the RPM name of a platform's architecture.
func Arch(p pipelines.Platform) (string, error) {
	switch p.Architecture + p.Variant {
	case "amd64":
		return "x86_64", nil
	case "arm64", "arm64v8":
		return "aarch64", nil
	case "386":
		return "i686", nil
	case "ppc64le", "s390x", "riscv64":
		return p.Architecture, nil
	case "armv7":
		return "armv7hl", nil
	}
	return "", &pipelines.InvalidError{What: "bootstrap rpm", Cause: fmt.Sprintf("no RPM distribution is known for %s", p),
		Fix: "choose linux/amd64, linux/arm64, linux/ppc64le, linux/s390x"}
}

// expand replaces the variables of a suite.
func expand(suite, arch string) string {
	base := arch
	switch arch {
	case "i686":
		base = "i386"
	case "armv7hl":
		base = "armhfp"
	}
	return strings.NewReplacer("$basearch", base, "$arch", arch).Replace(suite)
}

func checkSource(src pipelines.PackageSource, dir string, mirrors []string) error {
	bad := func(cause, fix string) error {
		return &pipelines.InvalidError{What: fmt.Sprintf("package source %q of repository %q", src.Suite, src.Repository), Cause: cause, Fix: fix}
	}
	switch {
	case dir == "" || dir != path.Clean(dir) || strings.HasPrefix(dir, "/") || strings.HasPrefix(dir, "..") || strings.ContainsAny(dir, " \t\n?#%"):
		return bad("is no directory below a mirror", "name the directory that holds repodata/, such as 9-stream/BaseOS/$basearch/os")
	case strings.Contains(dir, "$"):
		return bad("has a variable that is not known", "$basearch is the only one; write the release out")
	case len(src.Components) > 0:
		return bad("has components", "those are for deb; each RPM repository is a source of its own")
	case len(mirrors) == 0:
		return bad("has no mirror", fmt.Sprintf("list mirrors of %q in the site, or in the source itself", src.Repository))
	}
	return nil
}

// Open fetches and verifies the freshest metadata that the mirrors offer. The error
// is a *[fetch.MirrorsError], a [pipelines.InvalidError], one about the keyring or the
// cache, or the context's.
func (c *Client) Open(ctx context.Context, src pipelines.PackageSource, arch string, st site.Site, now time.Time, ev pipelines.Sink) (*Repo, error) {
	dir := expand(src.Suite, arch)
	mirrors := fetch.Bases(fetch.MirrorsOf(src, st))
	if err := checkSource(src, dir, mirrors); err != nil {
		return nil, err
	}
	ring, err := c.ring(src, st.Keyrings[src.Repository])
	if err != nil {
		return nil, err
	}
	q := question{c: c, dir: dir, ring: ring}
	what := fmt.Sprintf("repository %s %s", src.Repository, dir)
	offers, err := fetch.Freshest(ctx, c.Client, fetch.Question[*Metadata]{
		What: what, Name: dir, Mirrors: mirrors, Now: now, Fetch: q.fetch, Read: q.read,
		Missing: "check the suite and that the mirror's URL is the repository's base; releases that are no longer supported move to the distribution's archive",
	}, ev)
	if err != nil && c.NoListing {
		return nil, err
	}
	if err != nil {
		return nil, c.whatExists(ctx, err, dir)
	}
	offers = preferSigned(offers, what, ev)
	var repos []*Repo
	for _, o := range offers {
		repos = append(repos, &Repo{Source: src, Path: dir, Mirrors: o.Mirrors, Meta: o.Meta, Ring: ring})
	}
	r := repos[0]
	r.Older = repos[1:]
	if !r.Meta.Signed {
		ev.Send(pipelines.Event{Kind: pipelines.EventNote, Step: "metadata", Text: fmt.Sprintf(
			"%s does not sign its metadata: trust rests on the signature of each package", what)})
	}
	return r, nil
}

// preferSigned drops what is not signed where something that is signed was seen: a
// mirror cannot take a signature away.
func preferSigned(offers []fetch.Offer[*Metadata], what string, ev pipelines.Sink) []fetch.Offer[*Metadata] {
	var signed []fetch.Offer[*Metadata]
	for _, o := range offers {
		if o.Meta.Signed {
			signed = append(signed, o)
		}
	}
	if len(signed) == 0 || len(signed) == len(offers) {
		return offers
	}
	ev.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "metadata", Text: fmt.Sprintf(
		"%s: metadata without their signature are passed over: other mirrors have it", what)})
	return signed
}

// keyringError is about the keys that this program trusts, not about a mirror.
type keyringError struct {
	repository, suite string
	err               error
}

func (e *keyringError) Error() string {
	return fmt.Sprintf("keyring of repository %q (%s): %v", e.repository, e.suite, e.err)
}
func (e *keyringError) Unwrap() error { return e.err }

// Hint is what to do about it.
func (e *keyringError) Hint() string {
	return fmt.Sprintf("add the distribution's OpenPGP public keys to the site's keyrings, as %s", e.repository)
}

// ring gives the keys of a source: the distribution's, and the site's.
func (c *Client) ring(src pipelines.PackageSource, keys site.Keyring) (openpgp.EntityList, error) {
	var all openpgp.EntityList
	for _, data := range c.PublicKeys(src, keys) {
		list, err := pgp.ReadKeys(data)
		if err != nil {
			return nil, &keyringError{src.Repository, src.Suite, fmt.Errorf("cannot be read: %w", err)}
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil, &keyringError{src.Repository, src.Suite, errors.New("has no keys")}
	}
	return all, nil
}

// PublicKeys gives the keys of a source as they are, each armored or binary.
func (c *Client) PublicKeys(src pipelines.PackageSource, keys site.Keyring) [][]byte {
	var out [][]byte
	if !keys.Replace && c.Keys != nil {
		if d := c.Keys(src.Repository, src.Suite); len(d) > 0 {
			out = append(out, d)
		}
	}
	if len(keys.Keys) > 0 {
		out = append(out, keys.Keys)
	}
	return out
}

type question struct {
	c    *Client
	dir  string
	ring openpgp.EntityList
}

const (
	formSigned   = "signed"
	formUnsigned = "unsigned"
)

// fetch asks a mirror for repomd.xml and its signature.
func (q question) fetch(ctx context.Context, mirror string, attempts int, old fetch.Kept) (k fetch.Kept, same bool, err error) {
	url := fetch.Join(mirror, q.dir+"/repodata/repomd.xml")
	for try := 0; ; try++ {
		req := httpx.Request{URL: url, Limit: maxRepomd, Attempts: attempts, NoCache: true}
		if try == 0 && !old.Empty() {
			req.IfNoneMatch, req.IfModifiedSince = old.ETag, old.LastModified
		}
		data, resp, err := q.c.HTTP.ReadAll(ctx, req)
		if err != nil {
			return k, false, err
		}
		if resp.NotModified {
			return k, true, nil
		}
		k = fetch.Kept{ETag: resp.ETag, LastModified: resp.LastModified, Form: formSigned, Parts: [][]byte{data}}
		sig, _, err := q.c.HTTP.ReadAll(ctx, httpx.Request{URL: url + ".asc", Limit: maxRepomd, Attempts: attempts, NoCache: true})
		if fetch.NotFound(err) {
			k.Form = formUnsigned
			return k, false, nil
		}
		if err != nil {
			return k, false, err
		}
		k.Parts = append(k.Parts, sig)
		// The two can be of different states while a mirror is updated.
		if _, err := q.read(k); try == 0 && errors.Is(err, fetch.ErrSignature) {
			continue
		}
		return k, false, nil
	}
}

// read verifies and parses what a mirror served.
func (q question) read(k fetch.Kept) (*Metadata, error) {
	m, err := parseRepomd(k.Parts[0])
	if err != nil {
		return nil, err
	}
	if k.Form != formSigned {
		return m, nil
	}
	if len(k.Parts) != 2 {
		return nil, fmt.Errorf("%w: its signature is missing", fetch.ErrNotMetadata)
	}
	_, err = pgp.VerifyDetached(q.ring, k.Parts[0], k.Parts[1])
	if errors.Is(err, pgp.ErrGarbled) {
		return nil, fmt.Errorf("%w: repomd.xml.asc: %w", fetch.ErrNotMetadata, err)
	}
	if err != nil {
		return nil, fmt.Errorf("repomd.xml.asc: %w", err)
	}
	m.Signed = true
	return m, nil
}
