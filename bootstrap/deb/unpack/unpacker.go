package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options of a root.
type Options struct {
	// Arch is the root's Debian architecture.
	Arch string
	// MergedUsr makes /bin, /sbin and /lib (and /lib64 and the like, where a
	// package has files there) links into /usr before anything is unpacked.
	MergedUsr bool
	// Epoch bounds modification times and is that of files made here.
	Epoch time.Time
	// Workers is how many packages are unpacked at once, default the number of
	// processors, at most 8: each needs memory for a dictionary.
	Workers int
	// SpoolDir is where contents wait, with room for all packages unpacked.
	SpoolDir string
	// Devices allows device nodes in packages. Debian's never have any.
	Devices bool
	// MaxSize bounds what one package may unpack to, in bytes; default 16 GiB.
	// Independently a package may unpack to four times what it declares and
	// 64 MiB.
	MaxSize int64
}

// Package is one package of the root.
type Package struct {
	Name, Version, Architecture string
	// Auto: apt marks it as automatically installed.
	Auto bool
}

func (p Package) String() string { return p.Name + "_" + p.Version + "_" + p.Architecture }

// Unpacker collects packages and writes the layer. Add may be called by several
// goroutines at once; everything else not.
type Unpacker struct {
	o       Options
	workers chan *worker
	mu      sync.Mutex
	pkgs    []*pkg
}

// pkg is an unpacked package.
type pkg struct {
	Package
	control   *control
	multiSame bool
	essential bool
	// base: an essential package depends on it, so that it is unpacked before
	// there is a dpkg to do it, conffiles and all.
	base    bool
	entries []entry
	nodes   map[string]*node // of hard link targets and the list
	lost    map[string]bool  // paths another package replaces
}

type worker struct {
	dec   decoders
	spool *spool
}

// New makes an Unpacker. Close it.
func New(o Options) (*Unpacker, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	o.Workers = min(o.Workers, 8)
	if o.MaxSize <= 0 {
		o.MaxSize = 16 << 30
	}
	u := &Unpacker{o: o, workers: make(chan *worker, o.Workers)}
	for range o.Workers {
		s, err := newSpool(o.SpoolDir)
		if err != nil {
			u.Close()
			return nil, fmt.Errorf("spool file: %w", err)
		}
		u.workers <- &worker{spool: s}
	}
	return u, nil
}

// Close frees the spool files. No Add may be running.
func (u *Unpacker) Close() {
	for {
		select {
		case w := <-u.workers:
			w.dec.close()
			w.spool.f.Close()
		default:
			return
		}
	}
}

// Add unpacks one package file, waiting for a free worker. Errors of the package
// match [ErrRefused].
func (u *Unpacker) Add(ctx context.Context, p Package, file string) error {
	var w *worker
	select {
	case w = <-u.workers:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { u.workers <- w }()
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := u.read(w, p, &ctxReader{ctx, f})
	if err != nil {
		var r *RefusedError
		if errors.As(err, &r) && r.Package == "" {
			r.Package = p.String()
			if p.Name == "" {
				r.Package = filepath.Base(file)
			}
		}
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pkgs = append(u.pkgs, out)
	return nil
}

// ctxReader ends a long read when the context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// read reads a package: debian-binary, control.tar, data.tar (deb(5)).
func (u *Unpacker) read(w *worker, p Package, r io.Reader) (*pkg, error) {
	ar, err := newAR(r)
	if err != nil {
		return nil, err
	}
	out := &pkg{Package: p}
	for stage := 0; ; {
		name, size, err := ar.next()
		if errors.Is(err, io.EOF) {
			if stage < 3 {
				return nil, refuse("", "lacks %s", []string{"debian-binary", "control.tar", "data.tar"}[stage])
			}
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(name, "_") && stage > 0 {
			continue
		}
		isControl, isData := strings.HasPrefix(name, "control.tar"), strings.HasPrefix(name, "data.tar")
		switch {
		case stage == 0 && name == "debian-binary":
			if err := readVersion(ar, size); err != nil {
				return nil, err
			}
		case stage == 1 && isControl:
			if err := u.readControl(w, out, name, ar); err != nil {
				return nil, err
			}
		case stage == 2 && isData:
			if err := u.readData(w, out, name, ar); err != nil {
				return nil, err
			}
		case isControl || isData || name == "debian-binary":
			return nil, refuse(name, "is a second time in the package, or out of order")
		case stage < 3:
			return nil, refuse(name, "is no member of a Debian package")
		}
		stage = min(stage+1, 3)
	}
}

func readVersion(r io.Reader, size int64) error {
	if size > 1024 {
		return refuse("debian-binary", "is too large")
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return damaged("debian-binary", err)
	}
	if !strings.HasPrefix(string(b), "2.") {
		return refuse("debian-binary", "is of format %q, not 2", strings.TrimSpace(string(b)))
	}
	return nil
}

func (u *Unpacker) readControl(w *worker, out *pkg, name string, r io.Reader) error {
	content, err := w.dec.open(name, r)
	if err != nil {
		return err
	}
	c, err := readControl(content, name)
	if err != nil {
		return err
	}
	out.control = c
	for _, f := range []struct{ name, want string }{
		{"Package", out.Name}, {"Version", out.Version}, {"Architecture", out.Architecture},
	} {
		if got := c.get(f.name); got == "" || f.want != "" && got != f.want {
			return refuse("control", "says %s: %q, the archive says %q", f.name, got, f.want)
		}
	}
	out.Name, out.Version, out.Architecture = c.get("Package"), c.get("Version"), c.get("Architecture")
	if strings.Trim(out.Name, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" ||
		strings.Trim(out.Architecture, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return refuse("control", "has an illegal package or architecture name")
	}
	out.multiSame = c.get("Multi-Arch") == "same"
	out.essential = c.get("Essential") == "yes"
	return nil
}

func (u *Unpacker) readData(w *worker, out *pkg, name string, r io.Reader) error {
	content, err := w.dec.open(name, r)
	if err != nil {
		return err
	}
	most := min(4*out.control.installedSize()+64<<20, u.o.MaxSize)
	out.entries, err = readData(content, name, most, w.spool, out.control.member("md5sums") == nil, u.o.Devices)
	return err
}

// sorted gives the packages in the order they count as unpacked: base-files,
// which makes the base directories, first, then by name and architecture.
func (u *Unpacker) sorted() []*pkg {
	out := slices.Clone(u.pkgs)
	slices.SortFunc(out, func(a, b *pkg) int {
		if f := first(b) - first(a); f != 0 {
			return f
		}
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Architecture, b.Architecture)
	})
	return out
}

func first(p *pkg) int {
	if p.Name == "base-files" {
		return 1
	}
	return 0
}

// id is how dpkg names the package in its files: with the architecture where
// several may be installed.
func (p *pkg) id() string {
	if p.multiSame {
		return p.Name + ":" + p.Architecture
	}
	return p.Name
}
