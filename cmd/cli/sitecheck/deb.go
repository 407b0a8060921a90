package sitecheck

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// repository probes one mirror of a package repository.
func (c *checker) repository(ctx context.Context, p Probe, m *Mirror) error {
	switch p.Kind {
	case "deb":
		return c.deb(ctx, p, m)
	case "rpm":
		return c.rpm(ctx, p, m)
	case "apk":
		return c.apk(ctx, p, m)
	}
	_, _, err := c.get(ctx, m, m.URL+"/", 8<<20)
	var he *httpx.Error
	if m.Reachable && errors.As(err, &he) {
		m.Status, m.Answer = OK, "answers" // many servers list no directories
		return nil
	}
	if err == nil {
		m.Answer = "answers"
	}
	return err
}

func debArch(p pipelines.Platform) string {
	if a, err := archive.Architecture(p); err == nil {
		return a
	}
	return p.Architecture
}

// deb reads the repository as the bootstrap does, from this mirror alone and into
// a cache of its own: signature, validity, hashes are all checked there.
func (c *checker) deb(ctx context.Context, p Probe, m *Mirror) error {
	dir, err := os.MkdirTemp(c.in.TempDir, "deb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cl := &archive.Client{HTTP: c.http, CacheDir: dir, Jobs: 1}
	keys := c.in.Site.Keyrings[p.Source.Repository]
	suite, err := cl.Open(ctx, p.Source, []string{m.URL}, keys, c.in.Now(), nil)
	if errors.Is(err, archive.ErrExpired) {
		// Its date is of use in the report.
		src := p.Source
		src.AllowExpired = true
		if old, err := cl.Open(ctx, src, []string{m.URL}, keys, c.in.Now(), nil); err == nil {
			m.release(old.Release)
		}
	}
	m.answered(cause(err))
	if err != nil {
		if !m.Reachable {
			var he *httpx.Error
			m.Reachable = !errors.As(err, &he) && ctx.Err() == nil // it sent something
		}
		return cause(err)
	}
	m.release(suite.Release)

	pkgs, err := c.debIndex(ctx, cl, suite, debArch(p.Platform), m)
	if err != nil {
		return err
	}
	var small *archive.Package
	for _, pkg := range pkgs {
		if small == nil || pkg.Size < small.Size {
			small = pkg
		}
	}
	if small == nil {
		m.Answer = "the index is empty"
		return nil
	}
	err = cl.Fetch(ctx, []*archive.Package{small}, nil, func(*archive.Package, string) error { return nil })
	if err != nil {
		problem, fix := explain(cause(err))
		return findf(fix, "incomplete: package %s: %s", small, problem)
	}
	m.Package = small.String()
	return nil
}

func (m *Mirror) release(r archive.Release) {
	m.Signature = "verified"
	m.dated(r.Date)
	if !r.ValidUntil.IsZero() {
		t := r.ValidUntil.UTC()
		m.ValidUntil = &t
	}
}

func (c *checker) debIndex(ctx context.Context, cl *archive.Client, suite *archive.Suite, arch string, m *Mirror) ([]*archive.Package, error) {
	release, err := c.slot(ctx, m)
	if err != nil {
		return nil, err
	}
	defer release()
	ictx, cancel := context.WithTimeout(ctx, c.in.Timeout/2)
	defer cancel()
	start := time.Now()
	pkgs, err := cl.Packages(ictx, suite, arch, nil)
	took, n := time.Since(start), bytesBelow(filepath.Join(cl.CacheDir, "blobs"))
	m.measured(n, took)
	switch {
	case err != nil && ictx.Err() != nil && ctx.Err() == nil && n > 0:
		return nil, &slowError{got: n, took: took}
	case errors.Is(err, archive.ErrNoArchitecture):
		m.Answer = err.Error()
		return nil, nil
	case err != nil:
		return nil, findf(hint(cause(err)), "incomplete: %s", func() string { p, _ := explain(cause(err)); return p }())
	}
	return pkgs, nil
}

// cause takes the one fault out of an error about one mirror. The hint stays that
// of the whole.
func cause(err error) error {
	var me *archive.MirrorsError
	if !errors.As(err, &me) || len(me.Faults) != 1 {
		return err
	}
	one := me.Faults[0].Err
	var he *httpx.Error
	if errors.As(one, &he) {
		return one
	}
	return &finding{one.Error(), me.Hint()}
}

func hint(err error) string {
	_, fix := explain(err)
	return fix
}

// bytesBelow adds up the files of a directory, those that are not whole too.
func bytesBelow(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
