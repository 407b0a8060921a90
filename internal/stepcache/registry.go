package stepcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registries"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/blobinfocache/none"
	"go.podman.io/image/v5/types"
)

// RegistryOptions say how to reach the registry of a cache.
type RegistryOptions struct {
	Site site.Site
	// Credentials by registry host win over AuthFile.
	Credentials map[string]builders.Credential
	AuthFile    string
	// Stall is how long a request may make no progress; 0 is one minute, and five for
	// what is sent: registries take their time to store a large layer.
	Stall time.Duration
}

// registry is a cache at a tag of a registry.
type registry struct {
	named    reference.NamedTagged
	ref      types.ImageReference
	sys      *types.SystemContext
	builder  string
	platform pipelines.Platform
	stall    [2]time.Duration // of reading and of writing
	src      types.ImageSource

	// What Read found: the image may be changed by others meanwhile, and then is
	// simply replaced.
	done  bool
	found []byte
	index Index
	err   error
}

// Registry is a cache at a tag of a repository ("registry.example/group/cache:x").
func Registry(ref, builder string, p pipelines.Platform, o RegistryOptions) (Place, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return nil, fmt.Errorf("cache %q: %w", ref, err)
	}
	tagged, ok := named.(reference.NamedTagged)
	if _, pinned := named.(reference.Digested); !ok || pinned {
		return nil, fmt.Errorf("cache %q: is not a repository and tag", ref)
	}
	r := &registry{named: tagged, builder: builder, platform: p, stall: [2]time.Duration{o.Stall, o.Stall}}
	if o.Stall == 0 {
		r.stall = [2]time.Duration{time.Minute, 5 * time.Minute}
	}
	var auth *types.DockerAuthConfig
	if c, ok := registries.Credential(o.Credentials, named); ok {
		auth = &types.DockerAuthConfig{Username: c.User, Password: c.Password}
	}
	if r.sys, err = registries.System(o.Site, registries.Insecure(o.Site, named.Name()), o.AuthFile, auth); err != nil {
		return nil, err
	}
	r.ref, err = docker.NewReference(tagged)
	return r, err
}

func (r *registry) String() string { return r.named.String() }

// Read asks once: later calls give the same answer.
func (r *registry) Read(ctx context.Context) (Index, error) {
	if !r.done {
		err := r.try(ctx, r.stall[0], func(ctx context.Context, _ func()) (err error) {
			r.index, err = r.read(ctx)
			return err
		})
		if ctx.Err() != nil {
			return Index{}, context.Cause(ctx)
		}
		r.done, r.err = true, err
	}
	return r.index, r.err
}

// source gives the connection for reading, which asks for the manifest once.
func (r *registry) source(ctx context.Context) (types.ImageSource, error) {
	if r.src != nil {
		return r.src, nil
	}
	src, err := r.ref.NewImageSource(ctx, r.sys)
	if err == nil {
		r.src = src
	}
	return src, err
}

// Close ends the connection for reading.
func (r *registry) Close() {
	if r.src != nil {
		r.src.Close()
		r.src = nil
	}
}

func (r *registry) read(ctx context.Context) (Index, error) {
	src, err := r.source(ctx)
	if err != nil {
		if registries.Status(err) == http.StatusNotFound {
			return Index{}, ErrNone
		}
		return Index{}, err
	}
	raw, _, err := src.GetManifest(ctx, nil)
	if err != nil {
		return Index{}, err
	}
	m, err := decodeManifest(raw)
	if err != nil {
		return Index{}, err
	}
	body, _, err := src.GetBlob(ctx, types.BlobInfo{Digest: m.Config.Digest, Size: m.Config.Size}, none.NoCache)
	if err != nil {
		return Index{}, fmt.Errorf("its configuration: %w", err)
	}
	defer body.Close()
	config, err := io.ReadAll(io.LimitReader(body, m.Config.Size+1))
	if err != nil {
		return Index{}, fmt.Errorf("its configuration: %w", err)
	}
	idx, err := decode(m, config, r.builder, r.platform)
	if err == nil {
		r.found = raw
	}
	return idx, err
}

func (r *registry) Fetch(ctx context.Context, e Entry, to *oci.Layout) error {
	return r.try(ctx, r.stall[0], func(ctx context.Context, alive func()) (err error) {
		src, err := r.source(ctx)
		if err != nil {
			return err
		}
		defer func() {
			if err != nil {
				r.Close() // the next attempt has a connection of its own
			}
		}()
		body, _, err := src.GetBlob(ctx, types.BlobInfo{Digest: e.Digest, Size: e.Size}, none.NoCache)
		if err != nil {
			return fmt.Errorf("layer %s: %w", e.Digest, err)
		}
		defer body.Close()
		return receive(ctxReader{ctx, telling{body, alive}}, e, to)
	})
}

func (r *registry) Write(ctx context.Context, idx Index, from *oci.Layout) (sent int64, err error) {
	if _, err := r.Read(ctx); mayReplace(err) != nil {
		return 0, mayReplace(err)
	}
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	// Nothing new: that costs no request at all.
	if _, raw, err := encode(idx, dockerForm); err != nil || bytes.Equal(raw, r.found) {
		return 0, err
	}
	var dest types.ImageDestination
	connect := func(ctx context.Context) (err error) {
		if dest == nil {
			dest, err = r.ref.NewImageDestination(ctx, r.sys)
		}
		return err
	}
	defer func() {
		if dest != nil {
			dest.Close()
		}
	}()
	put := func(info types.BlobInfo, open func() (io.ReadCloser, error)) (there bool, err error) {
		err = r.try(ctx, r.stall[1], func(ctx context.Context, alive func()) error {
			if err := connect(ctx); err != nil {
				return err
			}
			ok, _, err := dest.TryReusingBlob(ctx, info, none.NoCache, false)
			if err != nil {
				dest.Close()
				dest = nil
				return err
			}
			if there = ok; ok || open == nil {
				return nil
			}
			in, err := open()
			if err != nil {
				return err
			}
			defer in.Close()
			if _, err := dest.PutBlob(ctx, ctxReader{ctx, telling{in, alive}}, info, none.NoCache, false); err != nil {
				dest.Close()
				dest = nil
				return err
			}
			there = true
			sent += info.Size
			return nil
		})
		return there, err
	}
	idx.Entries, err = kept(idx.Entries, func(e Entry) (bool, error) {
		var open func() (io.ReadCloser, error)
		if has(from, e) {
			open = func() (io.ReadCloser, error) { return os.Open(from.BlobPath(e.Digest)) }
		}
		return put(types.BlobInfo{Digest: e.Digest, Size: e.Size, MediaType: dockerForm.layer}, open)
	})
	if err != nil {
		return sent, err
	}
	config, raw, err := encode(idx, dockerForm)
	if err != nil {
		return sent, err
	}
	if _, err := put(types.BlobInfo{Digest: digest.FromBytes(config), Size: int64(len(config)), MediaType: dockerForm.config},
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(config)), nil }); err != nil {
		return sent, err
	}
	return sent, r.try(ctx, r.stall[1], func(ctx context.Context, _ func()) error {
		if err := connect(ctx); err != nil {
			return err
		}
		return dest.PutManifest(ctx, raw, nil)
	})
}

// tries is how often a request is made that fails for a passing reason, wait the
// pause before the second, which doubles.
const (
	tries = 3
	wait  = 500 * time.Millisecond
)

var errStalled = errors.New("no progress, the connection counts as lost")

// try makes a request, again if that may help.
func (r *registry) try(ctx context.Context, stall time.Duration, op func(ctx context.Context, alive func()) error) error {
	for n := 1; ; n++ {
		err := watched(ctx, stall, op)
		if err == nil || ctx.Err() != nil || n == tries || errors.Is(err, errStalled) || !registries.Passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait << (n - 1)):
		}
	}
}

// watched ends a request that makes no progress.
func watched(ctx context.Context, stall time.Duration, op func(context.Context, func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer t.Stop()
	err := op(ctx, func() { t.Reset(stall) })
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w for %s", errStalled, stall)
	}
	return err
}

// telling tells that bytes move.
type telling struct {
	r     io.Reader
	alive func()
}

func (t telling) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 {
		t.alive()
	}
	return n, err
}

// ctxReader ends reading when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// Hint says what to do about the error of a place, "" when it says enough.
func Hint(err error) string {
	switch s := registries.Status(err); {
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return "log in with podman login or docker login as a user who may, or name another place with --cache-from and --cache-to"
	case s == http.StatusNotFound:
		return "check the repository's name; GitLab allows two levels below a project"
	case registries.PlainHTTP(err):
		return "the registry speaks plain HTTP: mark it insecure in the site"
	case registries.Untrusted(err):
		return "add the authority that signed the registry's certificate to the site's CAs"
	}
	return ""
}
