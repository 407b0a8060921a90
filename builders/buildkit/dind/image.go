package dind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/site"
)

// repository of the images made here.
const repository = "cfbuild-buildkitd"

// image has an image of BuildKit in the daemon and gives BuildKit's version, as far as the
// name of its state's volume goes.
func (d *Daemon) image(ctx context.Context, p *programs) (version string, err error) {
	if p == nil {
		return d.pull(ctx)
	}
	d.Image = repository + ":" + p.version + "-" + short(p.id, string(steptrust.Mozilla()))
	_, err = d.api.ImageInspect(ctx, d.Image)
	if err == nil {
		return p.version, nil
	}
	if !cerrdefs.IsNotFound(err) {
		return "", d.fail(Failed, "image "+d.Image, "", err)
	}
	var size int64
	for _, f := range p.files {
		size += f.size
	}
	d.o.log(fmt.Sprintf("docker: loading BuildKit %s (%d MB) into %s", p.version, size>>20, d.url))
	r, w := io.Pipe()
	made := make(chan error, 1)
	go func() {
		err := p.archive(w, d.arch, d.Image, map[string]string{label: "image"})
		w.CloseWithError(err)
		made <- err
	}()
	out, err := d.api.ImageLoad(ctx, r, client.ImageLoadWithQuiet(true))
	r.Close() // ends the writer if the daemon did not read to the end
	if err == nil {
		err = loaded(out)
	}
	// An error of ours reaches the daemon as a torn stream, which says less.
	if failed := <-made; failed != nil && !errors.Is(failed, io.ErrClosedPipe) {
		err = failed
	}
	if err == nil {
		return p.version, nil
	}
	// Another client may have been loading the same at the same time, which some daemons
	// do not take well.
	if _, there := d.api.ImageInspect(ctx, d.Image); there == nil {
		return p.version, nil
	}
	return "", d.explainStart(ctx, fmt.Errorf("load image: %w", err))
}

// loaded reads the daemon's answer, in which errors come after a status of success.
func loaded(out io.ReadCloser) error {
	defer out.Close()
	b, err := io.ReadAll(io.LimitReader(out, 1<<20))
	if err != nil {
		return err
	}
	if i := strings.Index(string(b), `"error":"`); i >= 0 {
		return errors.New(strings.TrimSpace(string(b[i:])))
	}
	return nil
}

// pull has the daemon fetch an image of BuildKit, from the site's caches first.
func (d *Daemon) pull(ctx context.Context) (version string, err error) {
	ref := d.o.Image
	if ref == "" {
		ref = DefaultImage
	}
	version = "image-" + short(ref)
	if _, tag, ok := strings.Cut(ref[strings.LastIndex(ref, "/")+1:], ":"); ok && released.MatchString(tag) {
		version = tag
	}
	var failed error
	all := candidates(ref, d.o.Site)
	for _, c := range all {
		if _, err := d.api.ImageInspect(ctx, c); err == nil {
			d.Image = c
			return version, nil
		}
	}
	for _, c := range all {
		d.o.log("docker: pulling " + c)
		out, err := d.api.ImagePull(ctx, c, client.ImagePullOptions{})
		if err == nil {
			err = out.Wait(ctx)
			out.Close()
		}
		if err == nil {
			d.Image = c
			return version, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", c, err))
	}
	return "", d.fail(NoPrograms, "no static buildkitd, buildctl and buildkit-runc for "+d.arch+" are beside the program or on PATH, and the daemon cannot pull an image of BuildKit",
		"put the three of BuildKit's release beside cfbuild, or name them: buildkit:docker?binaries=DIR; or name an image the daemon can pull: ?image=REFERENCE", failed)
}

// candidates are the references that a site gives for one, in order.
func candidates(ref string, s site.Site) []string {
	var out []string
	for _, r := range s.Registries {
		rest, ok := strings.CutPrefix(ref, r.Prefix+"/")
		if !ok || r.Prefix == "" {
			continue
		}
		for _, m := range r.Mirrors {
			out = append(out, m.Location+"/"+rest)
		}
		if r.Location != "" {
			return append(out, r.Location+"/"+rest)
		}
	}
	return append(out, ref)
}
