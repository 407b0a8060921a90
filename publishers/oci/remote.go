package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cfbuild/cfbuild/internal/registries"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"
)

// remote is one repository of a registry. Each request is repeated when it failed
// for a passing reason, on a fresh connection.
type remote struct {
	p    *Publisher
	repo reference.Named
	sys  *types.SystemContext
	ev   pipelines.Sink
	// sent counts the bytes of blobs and manifests the registry took.
	sent atomic.Int64

	mu   sync.Mutex
	dest types.ImageDestination
}

// maxBackoff bounds the wait between repetitions.
const maxBackoff = 30 * time.Second

// quiet is how long a request may be silent before people are told.
const quiet = 15 * time.Second

func (p *Publisher) remote(repo reference.Named, ev pipelines.Sink) (*remote, error) {
	sys, err := p.system(repo, registries.Insecure(p.o.Site, repo.Name()))
	if err != nil {
		return nil, err
	}
	return &remote{p: p, repo: repo, sys: sys, ev: ev}, nil
}

// destination gives the shared connection for pushing.
func (r *remote) destination(ctx context.Context) (types.ImageDestination, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dest == nil {
		ref, err := docker.NewReferenceUnknownDigest(r.repo)
		if err != nil {
			return nil, err
		}
		if r.dest, err = ref.NewImageDestination(ctx, r.sys); err != nil {
			r.dest = nil
			return nil, err
		}
	}
	return r.dest, nil
}

// renew drops a connection after a failure: image/v5 keeps a failed first contact
// for good. Others that still use it go on.
func (r *remote) renew(d types.ImageDestination) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dest == d {
		r.dest = nil
	}
}

func (r *remote) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dest != nil {
		r.dest.Close()
	}
}

// try runs op until it succeeds, fails for good or the repetitions are used up.
// alive tells the watch that bytes move.
func (r *remote) try(ctx context.Context, what string, op func(ctx context.Context, alive func()) error) error {
	wait := r.p.o.Backoff
	for n := 0; ; n++ {
		err := r.watched(ctx, what, op)
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if n >= r.p.o.Retries || !passing(ctx, err) {
			return err
		}
		// Up to half of the wait is by chance, so that many clients do not come
		// back at the same moment.
		d := wait/2 + rand.N(wait/2+1)
		r.ev.Send(pipelines.Event{Kind: pipelines.EventWarning, Step: "push", Text: fmt.Sprintf("%s: %s: %v; trying again in %s (%d of %d)",
			reference.Domain(r.repo), what, err, d.Round(time.Millisecond), n+1, r.p.o.Retries)})
		timer := time.NewTimer(d)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		wait = min(2*wait, maxBackoff)
	}
}

// watched runs op once and ends it when it stalls.
func (r *remote) watched(ctx context.Context, what string, op func(context.Context, func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(r.p.o.Stall, func() { cancel(errStalled) })
	defer stall.Stop()
	silence := time.AfterFunc(quiet, func() {
		r.ev.Send(pipelines.Event{Kind: pipelines.EventNote, Step: "push",
			Text: fmt.Sprintf("still waiting for %s (%s); it may be throttling", reference.Domain(r.repo), what)})
	})
	defer silence.Stop()
	err := op(ctx, func() {
		stall.Reset(r.p.o.Stall)
		silence.Reset(quiet)
	})
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%s: %w for %s", what, errStalled, r.p.o.Stall)
	}
	return err
}

// has says whether the repository holds a blob, after mounting it from another
// repository where that is possible.
func (r *remote) has(ctx context.Context, b piece) (bool, error) {
	found := false
	err := r.try(ctx, "asking for blob "+short(b.digest), func(ctx context.Context, _ func()) error {
		dest, err := r.destination(ctx)
		if err != nil {
			return err
		}
		var info types.BlobInfo
		found, info, err = dest.TryReusingBlob(ctx, types.BlobInfo{Digest: b.digest, Size: b.size}, r.p.cache, false)
		if err != nil {
			r.renew(dest)
			return err
		}
		if found && info.Size >= 0 && info.Size != b.size {
			return fmt.Errorf("blob %s: the registry has %d bytes of it, not %d", b.digest, info.Size, b.size)
		}
		return nil
	})
	return found, err
}

// putBlob sends a blob whole; a repetition starts again unless the registry has it
// by then.
func (r *remote) putBlob(ctx context.Context, b piece, progress func(int64)) error {
	return r.try(ctx, "sending blob "+short(b.digest), func(ctx context.Context, alive func()) error {
		dest, err := r.destination(ctx)
		if err != nil {
			return err
		}
		f, err := os.Open(b.path)
		if err != nil {
			return err
		}
		defer f.Close()
		verify := digest.SHA256.Digester()
		in := &sending{r: io.TeeReader(ctxReader{ctx, f}, verify.Hash()), tell: func(n int64) { alive(); progress(n) }}
		_, err = dest.PutBlob(ctx, in, types.BlobInfo{Digest: b.digest, Size: b.size, MediaType: b.mediaType}, r.p.cache, false)
		if err == nil {
			r.sent.Add(in.n)
			if in.n != b.size {
				progress(b.size - in.n) // it was there by now
			}
			return nil
		}
		progress(-in.n)
		r.renew(dest)
		if in.n == b.size && verify.Digest() != b.digest {
			return &finalError{fmt.Errorf("%s: its content is %s", b.path, verify.Digest())}
		}
		return err
	})
}

// finalError keeps an error that repeating does not mend from being repeated.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// sending counts what is read.
type sending struct {
	r    io.Reader
	n    int64
	tell func(int64)
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if n > 0 {
		s.tell(int64(n))
	}
	return n, err
}

// putManifest stores a manifest by its digest, or at a tag.
func (r *remote) putManifest(ctx context.Context, raw []byte, tag string) error {
	what := "sending manifest " + short(digest.FromBytes(raw))
	if tag != "" {
		what = "setting tag " + tag
	}
	return r.try(ctx, what, func(ctx context.Context, _ func()) error {
		dest, err := r.destination(ctx)
		if err != nil {
			return err
		}
		if tag != "" {
			ref, err := r.at(tag, "")
			if err != nil {
				return err
			}
			if dest, err = ref.NewImageDestination(ctx, r.sys); err != nil {
				return err
			}
			defer dest.Close()
		}
		if err := dest.PutManifest(ctx, raw, nil); err != nil {
			r.renew(dest)
			return err
		}
		r.sent.Add(int64(len(raw)))
		return nil
	})
}

// at is the reference of a tag or digest in the repository.
func (r *remote) at(tag string, d digest.Digest) (types.ImageReference, error) {
	var ref reference.Named
	var err error
	if tag != "" {
		ref, err = reference.WithTag(r.repo, tag)
	} else {
		ref, err = reference.WithDigest(r.repo, d)
	}
	if err != nil {
		return nil, err
	}
	return docker.NewReference(ref)
}

// fetched is a manifest as the registry gives it.
type fetched struct {
	raw       []byte
	mediaType string
}

// manifestAt reads a manifest by tag or digest. A manifest that is not there
// gives nil and no error.
func (r *remote) manifestAt(ctx context.Context, tag string, d digest.Digest) (*fetched, error) {
	ref, err := r.at(tag, d)
	if err != nil {
		return nil, err
	}
	var out *fetched
	name := tag
	if name == "" {
		name = short(d)
	}
	err = r.try(ctx, "reading manifest "+name, func(ctx context.Context, _ func()) error {
		out = nil
		src, err := ref.NewImageSource(ctx, r.sys)
		if err != nil {
			if absent(err) {
				return nil
			}
			return err
		}
		defer src.Close()
		raw, mediaType, err := src.GetManifest(ctx, nil)
		if err != nil {
			return err
		}
		out = &fetched{raw, mediaType}
		return nil
	})
	return out, err
}

// absent: the registry says the manifest or repository is not there.
func absent(err error) bool { return registries.Status(err) == 404 }

func short(d digest.Digest) string {
	if e := d.Encoded(); len(e) > 12 {
		return e[:12]
	}
	return d.String()
}
