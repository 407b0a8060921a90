package sif

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sylabs/sif/v2/pkg/sif"
)

// Options of [Convert].
type Options struct {
	// Compression of the file system. Default gzip, which every kernel and every
	// Apptainer reads; level 0 is the codec's default, workers 0 one for each processor.
	Compression squashfs.Compression
	Level       int
	Workers     int
	// Epoch is the time in the SIF and of the files it adds; default the image's
	// creation time, or 1970. Files of the image keep their times.
	Epoch time.Time
	// Name of the image, such as debian12, for the definition file.
	Name string
	// Test and Help are the image's test script and help text; none by default.
	Test, Help string
	// NoDevices leaves out device nodes, which only root can unpack; they are named in
	// Result.Dropped.
	NoDevices bool
	// Sign, when not nil, signs all objects.
	Sign *SigningKey
}

// Result says what was written.
type Result struct {
	// ID is the SIF's UUID, made from the content.
	ID   string `json:"id"`
	Arch string `json:"arch"` // as Go names it
	Size int64  `json:"size"` // bytes of the file
	// Digest is the file's SHA-256, as sha256:HEX.
	Digest string `json:"digest"`
	// Unchanged: the same bytes were at the path already.
	Unchanged bool `json:"unchanged"`
	// Entries of the file system.
	Entries int `json:"entries"`
	// Dropped names what squashfs has no place for: "PATH: ATTRIBUTE", such as POSIX
	// ACLs. At most 100.
	Dropped []string `json:"dropped,omitempty"`
}

// ErrArchitecture: SIF has no number for an image's architecture.
var ErrArchitecture = errors.New("SIF does not know this architecture")

// ErrNotLinux: an image of another operating system.
var ErrNotLinux = errors.New("not a Linux image")

// architectures that SIF has numbers for, as OCI and Go name them.
var architectures = []string{"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x"}

// launch makes a SIF file runnable where binfmt_script finds run-singularity, which
// Apptainer installs.
const launch = "#!/usr/bin/env run-singularity\n"

// Convert writes the image of a layout with the given manifest as a SIF file at path,
// whole or not at all. Layers that are corrupt or hostile give the errors of
// internal/rootfs.
func Convert(ctx context.Context, l *oci.Layout, d v1.Descriptor, path string, o Options) (Result, error) {
	r, err := convert(ctx, l, d, path, o)
	if err != nil {
		return Result{}, fmt.Errorf("sif %s: %w", path, err)
	}
	return r, nil
}

func convert(ctx context.Context, l *oci.Layout, d v1.Descriptor, path string, o Options) (Result, error) {
	m, c, err := l.Image(d)
	if err != nil {
		return Result{}, err
	}
	if c.OS != "" && c.OS != "linux" {
		return Result{}, fmt.Errorf("%w: its operating system is %q", ErrNotLinux, c.OS)
	}
	if !slices.Contains(architectures, c.Architecture) {
		return Result{}, fmt.Errorf("%w: %q", ErrArchitecture, c.Architecture)
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return Result{}, errors.New("something is in the way: it is not a file")
	}
	if o.Epoch.IsZero() {
		o.Epoch = time.Unix(0, 0)
		if c.Created != nil && c.Created.After(o.Epoch) {
			o.Epoch = *c.Created
		}
	}
	o.Epoch = o.Epoch.UTC().Truncate(time.Second)
	a, err := added(c, d, o, true)
	if err != nil {
		return Result{}, err
	}
	tmp, done, err := beside(path)
	if err != nil {
		return Result{}, err
	}
	defer done()
	at, err := place(a, c.Architecture, o)
	if err != nil {
		return Result{}, err
	}
	p := &placed{f: tmp, at: at}
	r := Result{Arch: c.Architecture}
	b := builder{layout: l, manifest: d, m: m, config: c, o: o, out: p, add: a, r: &r}
	if err := b.run(ctx); err != nil {
		return Result{}, err
	}
	return r, assemble(ctx, path, tmp, p, b.add, o, &r)
}

// assemble writes around the file system what describes it.
func assemble(ctx context.Context, path string, tmp *os.File, fs *placed, a *additions, o Options, r *Result) error {
	st, err := tmp.Stat()
	if err != nil {
		return err
	}
	fs.size = st.Size() - fs.at
	at, err := place(a, r.Arch, o)
	if err != nil {
		return err
	}
	if err := fs.move(ctx, at); err != nil {
		return err
	}
	if r.ID, err = identity(ctx, a.definition, a.inspect, a.config, io.NewSectionReader(tmp, fs.at, fs.size)); err != nil {
		return err
	}
	img, err := create(tmp, a, fs, r.Arch, o, sif.OptCreateWithID(r.ID))
	if err != nil {
		return err
	}
	if o.Sign != nil {
		if err := o.Sign.sign(ctx, img, o.Epoch); err != nil {
			return err
		}
	}
	if err := img.UnloadContainer(); err != nil {
		return err
	}
	if st, err = tmp.Stat(); err != nil {
		return err
	}
	r.Size = st.Size()
	if err := tmp.Chmod(0o755); err != nil {
		return err
	}
	if r.Digest, r.Unchanged, err = compare(ctx, tmp, path); err != nil {
		return err
	}
	if r.Unchanged {
		return nil
	}
	return publish(tmp, path)
}

// create writes the objects of a SIF file.
func create(rw sif.ReadWriter, a *additions, fs io.Reader, arch string, o Options, opts ...sif.CreateOpt) (*sif.FileImage, error) {
	objects := []struct {
		kind sif.DataType
		r    io.Reader
		opts []sif.DescriptorInputOpt
	}{
		{sif.DataDeffile, strings.NewReader(a.definition), nil},
		{sif.DataGenericJSON, strings.NewReader(a.inspect), []sif.DescriptorInputOpt{sif.OptObjectName(inspectName)}},
		{sif.DataGenericJSON, strings.NewReader(a.config), []sif.DescriptorInputOpt{sif.OptObjectName(configName)}},
		// The library's default is the page of this machine.
		{sif.DataPartition, fs, []sif.DescriptorInputOpt{sif.OptObjectAlignment(4096),
			sif.OptPartitionMetadata(sif.FsSquash, sif.PartPrimSys, arch)}},
	}
	var inputs []sif.DescriptorInput
	for _, ob := range objects {
		in, err := sif.NewDescriptorInput(ob.kind, ob.r, append(ob.opts, sif.OptObjectTime(o.Epoch))...)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	return sif.CreateContainer(rw, append(opts, sif.OptCreateWithDescriptors(inputs...), sif.OptCreateWithLaunchScript(launch),
		sif.OptCreateWithTime(o.Epoch), sif.OptCreateWithCloseOnUnload(false))...)
}

// compare sums up what was written and says whether it is at path already.
func compare(ctx context.Context, tmp *os.File, path string) (digest string, same bool, err error) {
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return "", false, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, ctxReader{ctx, tmp}); err != nil {
		return "", false, err
	}
	digest = fmt.Sprintf("sha256:%x", sum.Sum(nil))
	st, err := tmp.Stat()
	if err != nil {
		return "", false, err
	}
	if now, err := os.Stat(path); err != nil || now.Size() != st.Size() {
		return digest, false, nil
	}
	old, err := os.Open(path)
	if err != nil {
		return digest, false, nil
	}
	defer old.Close()
	sum.Reset()
	if _, err := io.Copy(sum, ctxReader{ctx, old}); err != nil {
		return digest, false, ctx.Err() // what cannot be read is replaced
	}
	return digest, digest == fmt.Sprintf("sha256:%x", sum.Sum(nil)), nil
}

// identity makes the ID of the content, a version 8 UUID (RFC 9562). Apptainer's
// own are random, version 4.
func identity(ctx context.Context, definition, inspect, config string, fs io.Reader) (string, error) {
	sum := sha256.New()
	for _, s := range []string{definition, inspect, config} {
		fmt.Fprintf(sum, "%d %s", len(s), s)
	}
	if _, err := io.Copy(sum, ctxReader{ctx, fs}); err != nil {
		return "", err
	}
	b := sum.Sum(nil)[:16]
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
