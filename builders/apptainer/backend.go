package apptainer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Name is what users type.
const Name = "apptainer"

// Backend is the registration. Its address is the path of Apptainer's program;
// without one it is looked for on PATH.
func Backend() builders.Backend {
	return builders.Backend{Name: Name, Describe: "with the machine's own Apptainer, whose SIF file is delivered as it is",
		Open: open, OnRequest: true, Size: size, Prune: prune}
}

// noneNeeded is for whoever has no Apptainer.
const noneNeeded = "cfbuild run --format sif makes SIF files without Apptainer: leave --builder out"

func open(_ context.Context, o builders.Options) (builders.Builder, error) {
	if o.StateDir == "" {
		return nil, errors.New("builder apptainer: no state directory given")
	}
	if o.Isolation != "" || o.Driver != "" {
		return nil, errors.New("builder apptainer: knows no isolation and no storage driver")
	}
	dir, err := filepath.Abs(o.StateDir)
	if err != nil {
		return nil, err
	}
	o.StateDir = dir
	return &builder{o: o}, nil
}

// builder holds no state but the answer of a probe.
type builder struct {
	o    builders.Options
	mu   sync.Mutex
	caps *builders.Capabilities
}

func (b *builder) Name() string { return Name }

// program finds Apptainer.
func (b *builder) program() (string, error) {
	name := b.o.Address
	if name == "" {
		name = "apptainer"
	}
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		reason := "Apptainer is not installed: " + err.Error()
		return "", &builders.UnavailableError{Builder: Name, Reason: reason, Fix: noneNeeded + "; or install it (https://apptainer.org), or name it: --builder apptainer:/PATH/bin/apptainer"}
	}
	for _, h := range hidden {
		if h.steps && strings.HasPrefix(path, h.path+"/") {
			return "", unavailable(path+" is below "+h.path+", where steps have a directory of the image's", "install Apptainer elsewhere. "+noneNeeded)
		}
	}
	return path, nil
}

// Capabilities starts Apptainer where it will run, to say its version.
func (b *builder) Capabilities(ctx context.Context) (builders.Capabilities, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.caps != nil {
		return *b.caps, nil
	}
	c, err := b.probe(ctx)
	var un *builders.UnavailableError
	switch {
	case errors.As(err, &un):
		return builders.Capabilities{Reason: un.Reason, Fix: un.Fix}, nil
	case err != nil:
		return builders.Capabilities{}, err
	}
	b.caps = &c
	return c, nil
}

func (b *builder) probe(ctx context.Context) (builders.Capabilities, error) {
	program, err := b.program()
	if err != nil {
		return builders.Capabilities{}, err
	}
	work, err := b.workplace(ctx)
	if err != nil {
		return builders.Capabilities{}, err
	}
	defer work.remove()
	var said []string
	err = work.run(ctx, errand{Program: program, Args: []string{"--version"}}, func(line string) { said = append(said, line) })
	if err != nil {
		return builders.Capabilities{}, diagnose(err, said)
	}
	version := strings.Join(said, " ")
	if !strings.Contains(version, "apptainer version") {
		return builders.Capabilities{}, unavailable(fmt.Sprintf("%s is no Apptainer: its version is %q", program, version), noneNeeded)
	}
	who := "as root in a user namespace"
	if os.Geteuid() != 0 {
		who = "with subordinate ids"
	}
	return builders.Capabilities{Available: true, Detail: []string{version + ", " + program, who, "files: private /tmp, /var/tmp, /dev"},
		Platforms: []pipelines.Platform{pipelines.HostPlatform()}, NetworkNone: true, Xattrs: true}, nil
}

// size says what the state directory holds.
func size(_ context.Context, o builders.Options) (int64, error) {
	var n int64
	err := filepath.WalkDir(o.StateDir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return nil // it goes while builds run
			}
			return err
		}
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() {
			n += st.Size()
		}
		return nil
	})
	return n, err
}

// prune removes the images that were pulled, and what killed builds left.
func prune(ctx context.Context, o builders.Options, unused time.Duration) (int64, error) {
	before, err := size(ctx, o)
	if err != nil {
		return 0, err
	}
	b := &builder{o: o}
	if err := b.sweep(ctx); err != nil {
		return 0, err
	}
	cache := filepath.Join(o.StateDir, "images")
	if st, err := os.Stat(cache); err == nil && time.Since(st.ModTime()) >= unused {
		if err := os.RemoveAll(cache); err != nil {
			return 0, fmt.Errorf("builder apptainer: images: %w", err)
		}
	}
	after, err := size(ctx, o)
	return before - after, err
}
