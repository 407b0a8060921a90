package dind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
)

// Labels of what is ours in a Docker daemon; label is on all of it.
const (
	label       = "org.cfbuild.buildkitd"
	labelVolume = "org.cfbuild.buildkitd.volume"
)

// start is how long BuildKit may take to come up: with much state on a slow disk, seconds.
const start = 2 * time.Minute

// args of buildkitd. The network of steps is the container's, which is the daemon's own: an
// inner bridge would have wrong MTUs on many a cloud, and needs iptables.
var args = []string{"--addr", socket, "--root", stateDir, "--config", configDir + "/buildkitd.toml",
	"--oci-worker=true", "--containerd-worker=false", "--oci-worker-net=host", "--oci-worker-binary", binDir + "/buildkit-runc"}

// container has our buildkitd running, by whomever it was started.
func (d *Daemon) container(ctx context.Context) error {
	p, err := find(&d.o, d.arch)
	if err != nil {
		return err
	}
	version, err := d.image(ctx, p)
	if err != nil {
		return err
	}
	d.Volume = d.o.StateVolume
	if d.Volume == "" {
		d.Volume = "cfbuild-buildkitd-" + version
	}
	files := pack(settings(d.o.Site))
	environ := env(d.o.Site)
	d.Container = "cfbuild-buildkitd-" + short(d.Image, d.Volume, string(files), strings.Join(environ, "\n"), strings.Join(args, " "))

	ctx, cancel := context.WithTimeout(ctx, start)
	defer cancel()
	for {
		if err := d.supersede(ctx); err != nil {
			return err
		}
		err := d.run(ctx, files, environ)
		if err == nil {
			err = d.ask(ctx)
			if err == nil {
				return nil
			}
			if ended := d.ended(ctx); ended != nil && !is(ended, Gone) {
				return ended
			}
		} else if !is(err, Gone) {
			return err
		}
		// It is coming up, or the last of its users has just removed it.
		select {
		case <-ctx.Done():
			return d.fail(Failed, "BuildKit in container "+d.Container+" does not answer", "docker logs "+d.Container, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// run creates the container and starts it, if nobody else has. Another client may be doing
// the same: whoever comes second goes on with what the first has made.
func (d *Daemon) run(ctx context.Context, files []byte, environ []string) error {
	for wait := 0; ; wait++ {
		in, err := d.api.ContainerInspect(ctx, d.Container, client.ContainerInspectOptions{})
		switch {
		case cerrdefs.IsNotFound(err):
			if err := d.create(ctx, environ); err != nil {
				return err
			}
			return d.start(ctx, files)
		case err != nil:
			return d.fail(Failed, "container "+d.Container, "", err)
		case in.Container.State.Running:
			return nil
		case in.Container.State.Status == container.StateRemoving, in.Container.State.Dead:
			// Gone in a moment.
		case in.Container.State.Status == container.StateCreated && wait < 50:
			// Whoever created it is about to start it, or was killed.
		default:
			d.o.log("docker: starting container " + d.Container)
			return d.start(ctx, files)
		}
		select {
		case <-ctx.Done():
			return d.fail(Failed, "container "+d.Container+" does not start", "docker rm -f "+d.Container, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (d *Daemon) create(ctx context.Context, environ []string) error {
	labels := map[string]string{label: "container", labelVolume: d.Volume}
	if _, err := d.api.VolumeCreate(ctx, client.VolumeCreateOptions{Name: d.Volume, Labels: map[string]string{label: "volume"}}); err != nil {
		return d.explainStart(ctx, fmt.Errorf("volume %s: %w", d.Volume, err))
	}
	d.o.log("docker: creating container " + d.Container + " with volume " + d.Volume)
	_, err := d.api.ContainerCreate(ctx, client.ContainerCreateOptions{Name: d.Container,
		Config: &container.Config{Image: d.Image, Entrypoint: []string{binDir + "/buildkitd"}, Cmd: args, Env: environ, Labels: labels},
		HostConfig: &container.HostConfig{Privileged: true, NetworkMode: "host",
			Mounts:    []mount.Mount{{Type: mount.TypeVolume, Source: d.Volume, Target: stateDir}},
			LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m"}},
		}})
	if cerrdefs.IsConflict(err) { // somebody was quicker
		return nil
	}
	if err != nil {
		return d.explainStart(ctx, err)
	}
	return nil
}

// start is harmless on a container that runs.
func (d *Daemon) start(ctx context.Context, files []byte) error {
	if _, err := d.api.CopyToContainer(ctx, d.Container, client.CopyToContainerOptions{DestinationPath: "/", Content: bytes.NewReader(files)}); err != nil {
		return d.explainStart(ctx, fmt.Errorf("settings: %w", err))
	}
	_, err := d.api.ContainerStart(ctx, d.Container, client.ContainerStartOptions{})
	if err != nil {
		return d.explainStart(ctx, err)
	}
	return nil
}

func (d *Daemon) gone(err error) error {
	return d.fail(Gone, "BuildKit's container "+d.Container+" was removed", "start again: another is made", err)
}

func (d *Daemon) explainStart(ctx context.Context, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "No such container"), strings.Contains(text, "is marked for removal"):
		return d.gone(err)
	case strings.Contains(text, "no space left on device"):
		return d.fail(NoSpace, "the Docker daemon's disk (its data-root) is full", "docker system prune", err)
	case cerrdefs.IsPermissionDenied(err), strings.Contains(text, "operation not permitted"), strings.Contains(text, "permission denied"),
		strings.Contains(text, "privileged"):
		// What was created does not run, also not for the next one.
		_ = d.remove(context.WithoutCancel(ctx), d.Container)
		return d.fail(NoPrivilege, "BuildKit needs a privileged container, and the daemon does not run one",
			"a GitLab runner's dind service is allowed that by privileged = true below [runners.docker]; without it, build with no daemon: --builder buildah", err)
	}
	return d.fail(Failed, "container "+d.Container, "docker logs "+d.Container, err)
}

// ended says why our container does not run, nil if it does.
func (d *Daemon) ended(ctx context.Context) error {
	in, err := d.api.ContainerInspect(ctx, d.Container, client.ContainerInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return d.gone(nil)
	}
	if err != nil || in.Container.State.Running || in.Container.State.Status == container.StateCreated {
		return nil
	}
	tail := d.logs(ctx)
	reason := fmt.Sprintf("BuildKit's container %s ended with exit code %d", d.Container, in.Container.State.ExitCode)
	fix := "docker logs " + d.Container
	problem := Failed
	switch {
	case strings.Contains(tail, "no space left on device"):
		problem, reason = NoSpace, "the volume "+d.Volume+" is full"
		fix = "docker system prune, or docker rm -f " + d.Container + "; docker volume rm " + d.Volume
	case strings.Contains(tail, "could not lock"):
		problem, reason, fix = Busy, "the volume "+d.Volume+" is in use by another BuildKit", "name another: buildkit:docker?volume=NAME"
	case in.Container.State.OOMKilled:
		reason, fix = reason+": it ran out of memory", "give the daemon's machine, or the dind service, more memory"
	case in.Container.State.ExitCode == 137:
		reason += ": it was killed"
	case strings.Contains(tail, "operation not permitted"):
		problem, fix = NoPrivilege, "BuildKit needs a privileged container: privileged = true below [runners.docker]; or --builder buildah"
	}
	if tail == "" {
		return d.fail(problem, reason, fix, nil)
	}
	return d.fail(problem, reason, fix, errors.New(tail))
}

// logs gives the last lines that our container wrote.
func (d *Daemon) logs(ctx context.Context) string {
	r, err := d.api.ContainerLogs(ctx, d.Container, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "5"})
	if err != nil {
		return ""
	}
	defer r.Close()
	raw, _ := io.ReadAll(io.LimitReader(r, 64<<10))
	var out strings.Builder
	for len(raw) > 8 { // framed as in execConn
		n := min(int(raw[4])<<24|int(raw[5])<<16|int(raw[6])<<8|int(raw[7]), len(raw)-8)
		out.Write(raw[8 : 8+n])
		raw = raw[8+n:]
	}
	return strings.TrimSpace(out.String())
}
