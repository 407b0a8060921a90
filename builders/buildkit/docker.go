//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildkit/connect"
	"github.com/cfbuild/cfbuild/builders/buildkit/dind"
	"github.com/moby/buildkit/client"
)

// openDocker is a builder for a Docker daemon.
func openDocker(o builders.Options, q url.Values, getenv func(string) string) (builders.Builder, error) {
	d, err := dockerOptions(o, q, getenv)
	if err != nil {
		return nil, err
	}
	k := &docker{o: d}
	b, err := New(o, k.dial, beside(d.Host))
	if err != nil {
		return nil, err
	}
	b.(*builder).engine = k
	return b, nil
}

// dockerOptions are what the address and the environment say.
func dockerOptions(o builders.Options, q url.Values, getenv func(string) string) (dind.Options, error) {
	e := dind.Environment{Host: getenv("DOCKER_HOST"), CertPath: getenv("DOCKER_CERT_PATH"), TLSVerify: getenv("DOCKER_TLS_VERIFY"),
		TLSCertDir: getenv("DOCKER_TLS_CERTDIR"), Context: getenv("DOCKER_CONTEXT"), Home: getenv("HOME"), Path: getenv("PATH")}
	if program, err := os.Executable(); err == nil {
		e.ProgramDir = filepath.Dir(program)
	}
	d, err := dind.FromQuery(q, e)
	if err != nil {
		return dind.Options{}, err
	}
	d.Site, d.Log, d.Warn = o.Site, o.Log, warner(o)
	d.Now = time.Now // archtest: allow only an expired certificate is told by it
	return d, nil
}

// remove takes our containers, their state and their images out of a Docker daemon. Other
// daemons hold nothing but their cache.
func remove(ctx context.Context, o builders.Options) ([]string, error) {
	a, err := connect.Parse(o.Address)
	if err != nil {
		return nil, err
	}
	if a.Kind != connect.Docker {
		return nil, &hinted{errors.New("builder buildkit: only a Docker daemon holds something to remove"), "--builder buildkit:docker; a daemon's cache is emptied by buildctl prune"}
	}
	getenv := o.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	d, err := dockerOptions(o, a.Query, getenv)
	if err != nil {
		return nil, err
	}
	return dind.Remove(ctx, d)
}

// beside: a daemon's address is this machine's, or that of a service that GitLab runs on the
// same machine as the job.
func beside(host string) bool {
	u, err := url.Parse(host)
	if err != nil || u.Scheme == "unix" || host == "" {
		return err == nil
	}
	name := u.Hostname()
	ip := net.ParseIP(name)
	return name == "docker" || name == "localhost" || ip != nil && ip.IsLoopback()
}

// docker keeps a Docker daemon's BuildKit from one use to the next.
type docker struct {
	o dind.Options

	mu sync.Mutex
	d  *dind.Daemon
}

// dial finds the BuildKit alive that was used before, or opens it, which may start it.
func (k *docker) dial(ctx context.Context) (*client.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.d != nil {
		if c, err := k.connect(ctx); err == nil {
			if _, err := c.Info(ctx); err == nil {
				return c, nil
			}
			c.Close()
		}
		_ = k.d.Close(ctx) // of one that does not answer
		k.d = nil
	}
	d, err := dind.Open(ctx, k.o)
	if err != nil {
		return nil, err
	}
	k.d = d
	return k.connect(ctx)
}

func (k *docker) connect(ctx context.Context) (*client.Client, error) {
	return client.New(ctx, dind.Authority, k.d.ClientOpts()...)
}

func (k *docker) hostNetwork() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.d != nil && k.d.Embedded
}

func (k *docker) explain(ctx context.Context, err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.d == nil {
		return err
	}
	return k.d.Explain(ctx, err)
}

// idle closes what is not kept. Where the container runs on, so does our hold on it, for
// the next build of this program: it ends with the program.
func (k *docker) idle() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.d == nil || k.o.Keep == dind.KeepRunning {
		return nil
	}
	d := k.d
	k.d = nil
	return d.Close(context.Background())
}
