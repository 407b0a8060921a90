package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/lint"
	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Puller copies images of a registry into a new OCI layout. publishers/oci's
// Publisher is one; lint needs it for references.
type Puller interface {
	// Pull copies those for the platforms, or all, to dir; every blob is verified.
	// It gives the digest of the reference's manifest or list.
	Pull(ctx context.Context, ref, dir string, platforms []pipelines.Platform) (digest string, err error)
}

// imageName is an argument of lint that is no target.
type imageName struct {
	given string
	// path of a layout or archive; else it is a reference.
	path string
}

// sortNames tells targets, layouts and references apart: a target's name counts
// first, then a path that exists, then whatever has the form of a reference with a
// registry, tag or digest.
func (p *program) sortNames(pl pipelines.Pipeline, args []string) (targets []string, others []imageName, err error) {
	for _, a := range args {
		if _, err := pl.Target(a); err == nil {
			targets = append(targets, a)
			continue
		}
		scheme, rest, ok := strings.Cut(a, ":")
		switch {
		case strings.HasPrefix(a, "docker://"):
			others = append(others, imageName{given: strings.TrimPrefix(a, "docker://")})
			continue
		case ok && slices.Contains([]string{"oci", "oci-archive", "docker-archive", "dir"}, scheme):
			others = append(others, imageName{rest, p.env.path(rest)})
			continue
		}
		_, statErr := os.Stat(p.env.path(a))
		switch {
		case statErr == nil, strings.HasPrefix(a, "/"), strings.HasPrefix(a, "."):
			others = append(others, imageName{a, p.env.path(a)})
		case strings.ContainsAny(a, "/:@"):
			others = append(others, imageName{given: a})
		default:
			_, err := pl.Target(a)
			return nil, nil, &usageError{err, "an image of a registry is named with its tag or digest: " + a + ":TAG"}
		}
	}
	return targets, others, nil
}

// other checks an image that no target stands for.
func (l *linting) other(ctx context.Context, name imageName, platformsGiven bool, sink pipelines.Sink) error {
	if l.f.definitionOnly {
		return usagef("leave --definition-only out", "%s: has no definition here", name.given)
	}
	var want []pipelines.Platform
	if platformsGiven && !l.r.platforms.all {
		want = l.r.platforms.list
	}
	if err := os.MkdirAll(filepath.Join(l.r.stateDir, tempDir), 0o700); err != nil {
		return stateError(l.r.stateDir, err)
	}
	tmp, err := os.MkdirTemp(filepath.Join(l.r.stateDir, tempDir), "lint-")
	if err != nil {
		return stateError(l.r.stateDir, err)
	}
	defer os.RemoveAll(tmp)
	var layout *oci.Layout
	var found []lint.Finding
	if name.path == "" {
		puller, ok := l.r.publisher.(Puller)
		if !ok {
			return fmt.Errorf("%s: this program's publisher cannot pull", name.given)
		}
		ev := sink.With(name.given, "pull")
		ev.Send(pipelines.Event{Kind: pipelines.EventStart, Name: "pull " + name.given})
		if _, err := puller.Pull(ctx, name.given, tmp, want); err != nil {
			ev.Send(pipelines.Event{Kind: pipelines.EventFailed, Name: "pull " + name.given, Text: err.Error()})
			return err
		}
		ev.Send(pipelines.Event{Kind: pipelines.EventDone, Name: "pull " + name.given})
		found = lint.Reference(name.given, l.r.site)
		layout, err = oci.Open(tmp)
	} else {
		layout, err = openImages(ctx, name, tmp)
	}
	if err != nil {
		return err
	}
	images, err := layout.Images()
	if err != nil {
		return notAnImage(name.given, err)
	}
	n := 0
	for _, d := range images {
		if d.Platform != nil && len(want) > 0 && !slices.Contains(want, oci.FromPlatform(*d.Platform)) {
			continue
		}
		subject := lint.Subject{Image: name.given, Digest: d.Digest.String()}
		fs, err := lintImage(ctx, layout, d, &subject, lint.ImageOptions{Name: name.given, Now: l.p.env.Now()})
		if err != nil {
			return err
		}
		n++
		l.subjects = append(l.subjects, subject)
		found = append(found, fs...)
	}
	if n == 0 {
		cause := errors.New("it holds no image")
		if len(images) > 0 {
			return usagef("leave --platform out", "%s: has no image for %s", name.given, join(want))
		}
		return notAnImage(name.given, cause)
	}
	l.findings = append(l.findings, lint.Join(true, nil, found)...)
	return nil
}

// lintArtifact checks what a job made.
func lintArtifact(ctx context.Context, a pipelines.Artifact, o lint.ImageOptions) ([]lint.Finding, error) {
	layout, err := oci.Open(a.Path)
	if err != nil {
		return nil, err
	}
	d, err := layout.Manifest(a.Platform)
	if err != nil {
		return nil, err
	}
	return lint.Image(ctx, layout, d, o)
}

// lintImage checks one image of a layout and fills in its platform.
func lintImage(ctx context.Context, layout *oci.Layout, d v1.Descriptor, s *lint.Subject, o lint.ImageOptions) ([]lint.Finding, error) {
	_, c, err := layout.Image(d)
	if err == nil && c.OS == "" && len(c.RootFS.DiffIDs) == 0 {
		err = errors.New("its configuration is not that of an image")
	}
	if err != nil {
		return nil, notAnImage(o.Name, err)
	}
	s.Platform = oci.FromPlatform(c.Platform)
	found, err := lint.Image(ctx, layout, d, o)
	if err != nil && ctx.Err() == nil && (errors.Is(err, rootfs.ErrCorrupt) || errors.Is(err, rootfs.ErrHostile) || errors.Is(err, fs.ErrNotExist)) {
		return nil, notAnImage(o.Name, err)
	}
	return found, err
}

// openImages opens a layout, or unpacks an archive of images to tmp.
func openImages(ctx context.Context, name imageName, tmp string) (*oci.Layout, error) {
	st, err := os.Stat(name.path)
	if err != nil {
		return nil, notAnImage(name.given, err)
	}
	if st.IsDir() {
		layout, err := oci.Open(name.path)
		if errors.Is(err, oci.ErrNotLayout) {
			return nil, notAnImage(name.given, err)
		}
		return layout, err
	}
	if what := fileKind(name.path); what != "" {
		return nil, notAnImage(name.given, errors.New("it is "+what))
	}
	layout, err := oci.Unarchive(ctx, name.path, tmp)
	if errors.Is(err, oci.ErrNotLayout) {
		return nil, notAnImage(name.given, err)
	}
	return layout, err
}

// fileKind names files that people take for images and that this program does not
// read.
func fileKind(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [64]byte
	n, _ := f.Read(b[:])
	head := b[:n]
	switch {
	case n == 0:
		return "empty"
	case bytes.Contains(head, []byte("SIF_MAGIC")) || bytes.Contains(head, []byte("run-singularity")):
		return "a Singularity image: check the OCI image it was made from"
	case bytes.HasPrefix(head, []byte("hsqs")):
		return "a squashfs file system"
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return "a program"
	case bytes.HasPrefix(head, []byte("FROM ")) || bytes.HasPrefix(head, []byte("# syntax")):
		return "a Containerfile: cfbuild checks targets and images"
	}
	return ""
}

// notAnImage is exit code 3: what was named cannot be checked.
func notAnImage(name string, err error) error {
	return &pipelines.InvalidError{What: name, Cause: "is not an image: " + err.Error(),
		Fix: "name a target, a reference with its tag, an OCI image layout, or a tar file of docker save or skopeo"}
}

// sourcePaths names source files relative to the repository: that of CI_PROJECT_DIR,
// else the nearest directory with a .git above the working directory. A program
// built with -trimpath has names that begin with its module's path.
func (p *program) sourcePaths() lint.Paths {
	root := p.env.Getenv("CI_PROJECT_DIR")
	for d := p.env.Dir; root == ""; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, ".git")); err == nil {
			root = d
		} else if d == filepath.Dir(d) {
			root = p.env.Dir
		}
	}
	module := p.buildInfo().module
	return func(at pipelines.Position) string {
		if rel, err := filepath.Rel(root, at.File); err == nil && filepath.IsLocal(rel) {
			return filepath.ToSlash(rel)
		}
		if rest, ok := strings.CutPrefix(at.File, module+"/"); ok && module != "" {
			return rest
		}
		dir, base := filepath.Split(at.File)
		return filepath.Base(dir) + "/" + base
	}
}
