package dind

import (
	"context"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// supersede takes away containers of ours that have the same state and are not the one we
// want: other settings, another version. One that is used by somebody stays, which is an
// error, for one BuildKit at a time has a state.
func (d *Daemon) supersede(ctx context.Context) error {
	all, err := d.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", labelVolume+"="+d.Volume)})
	if err != nil {
		return d.fail(Failed, "containers", "", err)
	}
	for _, c := range all.Items {
		if len(c.Names) == 1 && c.Names[0] == "/"+d.Container {
			continue
		}
		busy, err := d.busy(ctx, c.ID, false)
		if err != nil {
			return err
		}
		if busy {
			return d.fail(Busy, "another client uses the volume "+d.Volume+" with other settings (container "+c.ID[:12]+")",
				"wait until it has ended, or name another volume: buildkit:docker?volume=NAME", nil)
		}
		d.o.log("docker: removing container " + c.ID[:12] + ", which had other settings")
		if err := d.remove(ctx, c.ID); err != nil {
			return err
		}
	}
	return nil
}

// busy: clients are connected, for each is an exec. patient waits a moment for those that
// have just been closed.
func (d *Daemon) busy(ctx context.Context, id string, patient bool) (bool, error) {
	for i := 0; ; i++ {
		running, err := d.clients(ctx, id)
		if err != nil || running == 0 || !patient || i == 20 {
			return running > 0, err
		}
		select {
		case <-ctx.Done():
			return true, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (d *Daemon) clients(ctx context.Context, id string) (int, error) {
	in, err := d.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, d.fail(Failed, "container "+id, "", err)
	}
	n := 0
	for _, e := range in.Container.ExecIDs {
		if x, err := d.api.ExecInspect(ctx, e, client.ExecInspectOptions{}); err == nil && x.Running {
			n++
		}
	}
	return n, nil
}

func (d *Daemon) remove(ctx context.Context, id string) error {
	_, err := d.api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true})
	if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) { // being removed
		return d.fail(Failed, "remove container "+id, "docker rm -f "+id, err)
	}
	return nil
}

func (d *Daemon) removeVolume(ctx context.Context, name string) error {
	_, err := d.api.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) { // somebody else's container has it
		return d.fail(Failed, "remove volume "+name, "docker volume rm "+name, err)
	}
	return nil
}

func (d *Daemon) removeImage(ctx context.Context, ref string) error {
	_, err := d.api.ImageRemove(ctx, ref, client.ImageRemoveOptions{})
	if err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
		return d.fail(Failed, "remove image "+ref, "docker rmi "+ref, err)
	}
	return nil
}

// Remove takes all that is ours out of a Docker daemon: containers, also those in use,
// volumes with BuildKit's state, images made here. It gives what it removed, "container
// NAME". There being nothing is no error.
func Remove(ctx context.Context, o Options) ([]string, error) {
	h, err := o.host()
	if err != nil {
		return nil, err
	}
	api, err := h.client(ctx)
	if err != nil {
		return nil, err
	}
	defer api.Close()
	d := &Daemon{o: o, url: h.url, api: api}
	ours := make(client.Filters).Add("label", label)
	var removed []string
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return nil, d.fail(Failed, "containers", "", err)
	}
	for _, c := range containers.Items {
		if err := d.remove(ctx, c.ID); err != nil {
			return removed, err
		}
		name := c.ID[:12]
		if len(c.Names) > 0 {
			name = c.Names[0][1:]
		}
		removed = append(removed, "container "+name)
	}
	volumes, err := api.VolumeList(ctx, client.VolumeListOptions{Filters: ours})
	if err != nil {
		return removed, d.fail(Failed, "volumes", "", err)
	}
	for _, v := range volumes.Items {
		if err := d.removeVolume(ctx, v.Name); err != nil {
			return removed, err
		}
		removed = append(removed, "volume "+v.Name)
	}
	images, err := api.ImageList(ctx, client.ImageListOptions{Filters: ours})
	if err != nil {
		return removed, d.fail(Failed, "images", "", err)
	}
	for _, i := range images.Items {
		for _, ref := range i.RepoTags {
			if err := d.removeImage(ctx, ref); err != nil {
				return removed, err
			}
			removed = append(removed, "image "+ref)
		}
	}
	return removed, nil
}
