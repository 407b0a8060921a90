package dind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	bkclient "github.com/moby/buildkit/client"
	"github.com/moby/moby/client"
)

// Daemon is a usable BuildKit of a Docker daemon.
type Daemon struct {
	// Engine is Docker's version, Version BuildKit's.
	Engine, Version string
	// Embedded: the daemon's own BuildKit. Otherwise Container, Image and Volume are ours.
	Embedded                 bool
	Container, Image, Volume string

	o       Options
	present *bkclient.Client
	url     string
	api     *client.Client
	arch    string
	execs   execs
}

// Open makes a daemon's BuildKit usable, and starts one of our own in it where it has none
// that is. Errors are of type [*Error]; a cancelled ctx is returned as it is.
func Open(ctx context.Context, o Options) (*Daemon, error) {
	h, err := o.host()
	if err != nil {
		return nil, err
	}
	api, err := h.client(ctx)
	if err != nil {
		return nil, err
	}
	d := &Daemon{o: o, url: h.url, api: api}
	d.o.Host = h.url
	if err := d.open(ctx); err != nil {
		api.Close()
		if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
			return nil, cause
		}
		return nil, err
	}
	return d, nil
}

func (d *Daemon) open(ctx context.Context) error {
	info, err := d.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return d.fail(Failed, "what is known of it", "", err)
	}
	d.Engine, d.arch = info.Info.ServerVersion, info.Info.Architecture
	store := false
	for _, s := range info.Info.DriverStatus {
		store = store || s[0] == "driver-type" && strings.HasPrefix(s[1], "io.containerd.snapshotter.")
	}
	if d.o.Route != Container {
		switch err := d.embedded(ctx, store); {
		case err == nil:
			return nil
		case d.o.Route == Embedded || ctx.Err() != nil:
			return err
		case store: // something is there, and not good enough
			d.o.log(err.Error())
		}
	}
	return d.container(ctx)
}

// MinEngine is the oldest Docker whose own BuildKit is used: the oldest that the tests run.
// What version of BuildKit it has, it does not always say.
const MinEngine = "26.0"

func (d *Daemon) embedded(ctx context.Context, store bool) error {
	if !store {
		return d.fail(NoRoute, "the BuildKit of Docker "+d.Engine+" exports nothing but images into Docker's own store",
			"set \"features\": {\"containerd-snapshotter\": true} in the daemon's daemon.json, or leave out route=embedded", nil)
	}
	if older(d.Engine, MinEngine) {
		return d.fail(NoRoute, "the BuildKit of Docker "+d.Engine+" is too old", "Docker "+MinEngine+" or newer is needed; or leave out route=embedded", nil)
	}
	d.Embedded = true
	if err := d.ask(ctx); err != nil {
		d.Embedded = false
		return d.fail(NoRoute, "the BuildKit of Docker "+d.Engine+" does not answer", "leave out route=embedded", err)
	}
	return nil
}

// ask connects and asks for BuildKit's version. The connection stays: others see by it that
// the container is in use.
func (d *Daemon) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	c, err := bkclient.New(ctx, Authority, d.ClientOpts()...)
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		c.Close()
		return err
	}
	d.Version, d.present = info.BuildkitVersion.Version, c
	return nil
}

// Authority is the address to give to BuildKit's client together with [Daemon.ClientOpts]:
// it is not resolved.
const Authority = "tcp://buildkit"

// ClientOpts are for BuildKit's client, client.New(ctx, dind.Authority, d.ClientOpts()...).
// The client connects anew by itself when a connection breaks.
func (d *Daemon) ClientOpts() []bkclient.ClientOpt {
	if d.Embedded {
		return []bkclient.ClientOpt{
			bkclient.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return d.api.DialHijack(ctx, "/grpc", "h2c", nil)
			}),
			bkclient.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
				return d.api.DialHijack(ctx, "/session", proto, meta)
			}),
		}
	}
	return []bkclient.ClientOpt{bkclient.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return d.dial(ctx) })}
}

// Close ends what [Options.Keep] does not keep, unless another client uses it. BuildKit's
// clients are closed before.
func (d *Daemon) Close(ctx context.Context) error {
	defer d.api.Close()
	d.present.Close()
	if d.Embedded || d.o.Keep == KeepRunning || d.o.Keep == "" {
		return nil
	}
	d.execs.closeAll()
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	busy, err := d.busy(ctx, d.Container, true)
	if err != nil || busy {
		return err
	}
	if err := d.remove(ctx, d.Container); err != nil {
		return err
	}
	if d.o.Keep == KeepNothing {
		err := d.removeVolume(ctx, d.Volume)
		if strings.HasPrefix(d.Image, repository+":") { // one that was pulled may be somebody's
			err = errors.Join(err, d.removeImage(ctx, d.Image))
		}
		return err
	}
	return nil
}

// Explain makes an error of a solve say what became of our container, where that is why.
// Another error, and nil, is returned as it is.
func (d *Daemon) Explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if strings.Contains(strings.ToLower(err.Error()), "no space left on device") {
		where := "the Docker daemon's disk (its data-root)"
		if !d.Embedded {
			where = "the volume " + d.Volume
		}
		return d.fail(NoSpace, where+" is full", "docker system prune, docker buildx prune, or remove that volume", err)
	}
	if d.Embedded {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if ended := d.ended(ask); ended != nil {
		return errors.Join(ended, err)
	}
	return err
}

// EmulatorHint is what to do where a daemon cannot run steps for an architecture.
func EmulatorHint(arch string) string {
	return fmt.Sprintf("emulators are registered with the kernel, so on the machine that the Docker daemon runs on: "+
		"install qemu-user-static there, or docker run --privileged --rm tonistiigi/binfmt --install %s; the registration needs the flag F, to work inside containers", arch)
}

func (d *Daemon) fail(p Problem, reason, fix string, err error) error {
	return &Error{Problem: p, Host: d.url, Reason: reason, Fix: fix, Err: err}
}
