//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/registries"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/docker/config"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// caches are the outside caches of a build, in the terms of the daemon's own importers
// and exporters. Directories are read and written here, through the session; registries
// by the daemon, with the login from here.
type caches struct {
	from, to []client.CacheOptionsEntry
	// dirs are written beside their place and take it when they are whole.
	dirs []cacheDir
	// broken counts exports that the daemon gave up.
	broken int
}

type cacheDir struct{ tmp, dir string }

func (x *build) openCaches() error {
	if !x.r.NoCache {
		for _, r := range x.r.CacheFrom {
			if err := x.cacheFrom(x.outside, r); err != nil {
				return err
			}
		}
	}
	for _, r := range x.r.CacheTo {
		if err := x.cacheTo(x.outside, r); err != nil {
			return err
		}
	}
	return nil
}

func (x *build) cacheFrom(c *caches, r builders.CacheRef) error {
	switch r.Type {
	case builders.CacheLocal:
		if _, err := os.Stat(filepath.Join(r.Dir, "index.json")); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := verify(r.Dir); err != nil {
			x.note(pipelines.EventWarning, "cache %s is not used: %v", r.Dir, err)
			return nil
		}
		c.from = append(c.from, client.CacheOptionsEntry{Type: "local", Attrs: map[string]string{"src": r.Dir}})
	case builders.CacheRegistry:
		c.from = append(c.from, client.CacheOptionsEntry{Type: "registry", Attrs: x.registryAttrs(r)})
	default:
		return noCache(r)
	}
	return nil
}

func (x *build) cacheTo(c *caches, r builders.CacheRef) error {
	mode := r.Mode
	if mode == "" {
		mode = "max"
	}
	attrs := map[string]string{}
	switch r.Type {
	case builders.CacheLocal:
		if err := os.MkdirAll(filepath.Dir(r.Dir), 0o755); err != nil {
			x.note(pipelines.EventWarning, "cache %s: %v", r.Dir, err)
			c.broken++
			return nil
		}
		tmp, err := os.MkdirTemp(filepath.Dir(r.Dir), "."+filepath.Base(r.Dir)+".partial-")
		if err != nil {
			x.note(pipelines.EventWarning, "cache %s: %v", r.Dir, err)
			c.broken++
			return nil
		}
		c.dirs = append(c.dirs, cacheDir{tmp, r.Dir})
		attrs["dest"] = tmp
	case builders.CacheRegistry:
		attrs = x.registryAttrs(r)
	default:
		return noCache(r)
	}
	// An image manifest: registries that know nothing else take it. A failure costs the
	// cache and not the build.
	attrs["mode"], attrs["image-manifest"], attrs["oci-mediatypes"], attrs["ignore-error"] = mode, "true", "true", "true"
	c.to = append(c.to, client.CacheOptionsEntry{Type: r.Type, Attrs: attrs})
	return nil
}

// verify reads a cache whole: a daemon that meets a broken layer of one does not get
// over it until it is started again (BuildKit 0.33).
func verify(dir string) error {
	l, err := oci.Open(dir)
	if err != nil {
		return err
	}
	idx, err := l.Index()
	if err != nil {
		return err
	}
	for _, d := range idx.Manifests {
		if err := l.Verify(d); err != nil {
			return err
		}
	}
	return nil
}

func noCache(r builders.CacheRef) error {
	return &hinted{fmt.Errorf("builder buildkit: cache of type %q: this builder has none", r.Type),
		"layers of the image are not those of the daemon; use type=registry or type=local"}
}

func (x *build) registryAttrs(r builders.CacheRef) map[string]string {
	repo := r.Ref
	if named, err := reference.ParseNormalizedNamed(r.Ref); err == nil {
		repo = named.Name()
	}
	return map[string]string{"ref": r.Ref, "registry.insecure": strconv.FormatBool(registries.Insecure(x.r.Site, repo))}
}

// finish puts written directories in their places, and gives how many caches hold the
// results.
func (c *caches) finish(x *build) int {
	done := len(c.to) - c.broken
	for _, d := range c.dirs {
		if err := d.replace(); err != nil {
			done--
			x.note(pipelines.EventWarning, "cache %s does not keep the results of steps: %v", d.dir, err)
		}
	}
	return max(done, 0)
}

func (d cacheDir) replace() error {
	if _, err := os.Stat(filepath.Join(d.tmp, "index.json")); err != nil {
		return errors.New("the daemon did not write it")
	}
	if err := os.Chmod(d.tmp, 0o755); err != nil {
		return err
	}
	old := d.tmp + ".old"
	if err := os.Rename(d.dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(d.tmp, d.dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// close removes what did not become a cache.
func (c *caches) close() {
	for _, d := range c.dirs {
		os.RemoveAll(d.tmp)
	}
}

// cacheVertex says what became of a cache.
func (x *build) cacheVertex(v *client.Vertex) {
	exporting := strings.HasPrefix(v.Name, "exporting cache ")
	if v.Error == "" || (!exporting && !strings.HasPrefix(v.Name, "importing cache ")) {
		return
	}
	if exporting {
		x.outside.broken++
	} else if strings.Contains(v.Error, "not found") {
		return // nobody has written it yet
	}
	x.note(pipelines.EventWarning, "cache: %s, seen from the daemon: %s", v.Name, cause(errors.New(v.Error)))
}

// logins serves the daemon the credentials for registries that it asks on our behalf.
// Tokens it fetches itself.
type logins struct {
	auth.UnimplementedAuthServer
	x *build
}

var _ session.Attachable = logins{}

func (l logins) Register(s *grpc.Server) { auth.RegisterAuthServer(s, l) }

// Credentials gives the login for a host; none is no error.
func (l logins) Credentials(_ context.Context, r *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	host := r.Host
	if host == "registry-1.docker.io" {
		host = "docker.io"
	}
	if named, err := reference.ParseNormalizedNamed(host + "/x/y"); err == nil {
		if c, ok := registries.Credential(l.x.r.Credentials, named); ok {
			return &auth.CredentialsResponse{Username: c.User, Secret: c.Password}, nil
		}
	}
	sys, err := registries.System(l.x.r.Site, false, l.x.r.AuthFile, nil)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	c, err := config.GetCredentials(sys, host)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if c.IdentityToken != "" {
		return &auth.CredentialsResponse{Secret: c.IdentityToken}, nil
	}
	return &auth.CredentialsResponse{Username: c.Username, Secret: c.Password}, nil
}
