package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cfbuild/cfbuild/internal/httpx"
)

// Want is one file by its content.
type Want struct {
	// What it is, for errors: "package bash=5.2".
	What string
	// SHA256 in hex, and Size in bytes.
	SHA256 string
	Size   int64
	// Check tells the right file where the metadata do not say its SHA-256: it says
	// what is wrong with the file of a path. Key, a relative path, is what the cache
	// knows it by then.
	Check func(path string) error
	Key   string
	// Paths are where it can be below a mirror's base URL, in order.
	Paths []string
}

// BlobPath is where the cache has a file with a SHA-256 (hex), if it has it.
func (c *Client) BlobPath(sum string) string {
	return filepath.Join(c.CacheDir, "blobs", "sha256", sum)
}

func (c *Client) pathOf(w Want) string {
	if w.Check != nil {
		return filepath.Join(c.CacheDir, "blobs", w.Key)
	}
	return c.BlobPath(w.SHA256)
}

// Blob gives the path of a file of the cache that has the size and hash wanted,
// fetched where it is not there. progress is told of bytes that arrive, negative
// when some turn out to be useless. Several processes may ask for the same file:
// one fetches, the others wait for it.
func (c *Client) Blob(ctx context.Context, w Want, ms *Mirrors, progress func(n int64)) (string, error) {
	final := c.pathOf(w)
	if ok, err := cached(final, w, progress); ok || err != nil {
		return final, err
	}
	if c.Offline {
		return "", fmt.Errorf("%s: %w", w.What, ErrOffline)
	}
	dir := filepath.Dir(final)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", &CacheError{dir, err}
	}
	part, err := lockPart(ctx, final+".part")
	if err != nil {
		return "", err
	}
	// Closing gives up the lock. What is there stays for the next run.
	defer part.Close()
	if ok, err := cached(final, w, progress); ok || err != nil {
		os.Remove(part.Name())
		return final, err
	}
	d := &download{c: c, ctx: ctx, w: w, ms: ms, f: part, sum: sha256.New(), progress: progress}
	if err := d.run(); err != nil {
		return "", err
	}
	if err := os.Rename(part.Name(), final); err != nil {
		return "", &CacheError{dir, err}
	}
	return final, nil
}

// cached says whether a file is there and whole. A damaged one is removed.
func cached(path string, w Want, progress func(n int64)) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &CacheError{filepath.Dir(path), err}
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return false, &CacheError{filepath.Dir(path), err}
	}
	good := hex.EncodeToString(sum.Sum(nil)) == w.SHA256
	if w.Check != nil && n == w.Size {
		good = w.Check(path) == nil
	}
	if n != w.Size || !good {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, &CacheError{filepath.Dir(path), err}
		}
		return false, nil
	}
	progress(n)
	return true, nil
}

// lockPart opens a partial file and takes its lock, which ends with the process.
// The holder may rename or remove the file, so that the lock can turn out to be on
// one that is no longer there.
func lockPart(ctx context.Context, path string) (*os.File, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, &CacheError{filepath.Dir(path), err}
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			mine, err1 := f.Stat()
			there, err2 := os.Stat(path)
			if err1 == nil && err2 == nil && os.SameFile(mine, there) {
				return f, nil
			}
			f.Close()
			continue
		}
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, &CacheError{filepath.Dir(path), fmt.Errorf("locking: %w", err)}
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		case <-t.C:
		}
	}
}

// download fills one partial file.
type download struct {
	c        *Client
	ctx      context.Context
	w        Want
	ms       *Mirrors
	f        *os.File
	sum      hash.Hash
	have     int64
	progress func(n int64)
	faults   []Fault
	bad      error // what Want.Check last said
}

// run tries the mirrors in order, each going on from where the one before broke
// off, and the last one harder.
func (d *download) run() error {
	if err := d.resume(); err != nil {
		return err
	}
	if d.have == d.w.Size && d.whole() {
		return nil
	}
	order := d.ms.order()
	for i, m := range order {
		attempts := 2
		if i == len(order)-1 {
			attempts = 0 // all that the client is set to
		}
		err := d.mirror(m, attempts)
		var ce *CacheError
		switch {
		case err == nil:
			d.ms.good(m)
			return nil
		case d.ctx.Err() != nil:
			return context.Cause(d.ctx)
		case errors.As(err, &ce):
			return err
		}
		d.ms.bad(m)
		d.faults = append(d.faults, Fault{m, err})
	}
	return &MirrorsError{What: d.w.What, Faults: d.faults}
}

// mirror tries all paths of one mirror. A file with the wrong content is asked for
// once more, past all caches: it may be one on the way that is stale.
func (d *download) mirror(base string, attempts int) error {
	var first error
	for _, p := range d.w.Paths {
		err := d.get(Join(base, p), attempts, false)
		if errors.Is(err, ErrMismatch) {
			err = d.get(Join(base, p), attempts, true)
		}
		if err == nil {
			return nil
		}
		if first == nil || NotFound(first) {
			first = err
		}
		if !NotFound(err) {
			break
		}
	}
	return first
}

func (d *download) get(url string, attempts int, noCache bool) error {
	resp, err := d.c.HTTP.Get(d.ctx, httpx.Request{URL: url, Offset: d.have, Size: d.w.Size, Attempts: attempts, NoCache: noCache})
	var he *httpx.Error
	if errors.As(err, &he) && he.Status == 416 && d.have > 0 {
		// The mirror's file ends before ours does.
		if err := d.truncate(0); err != nil {
			return err
		}
		return Mismatch("%s: it has fewer than the %d bytes that the index says", httpx.Redact(url), d.w.Size)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Size >= 0 && resp.Size != d.w.Size {
		return Mismatch("%s: it has %d bytes, the index says %d", httpx.Redact(url), resp.Size, d.w.Size)
	}
	if resp.Offset != d.have {
		if err := d.truncate(resp.Offset); err != nil {
			return err
		}
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		if d.have+int64(n) > d.w.Size {
			if err := d.truncate(0); err != nil {
				return err
			}
			return Mismatch("%s: it has more than the %d bytes that the index says", httpx.Redact(url), d.w.Size)
		}
		if n > 0 {
			if _, err := d.f.Write(buf[:n]); err != nil {
				return &CacheError{filepath.Dir(d.f.Name()), err}
			}
			d.sum.Write(buf[:n])
			d.have += int64(n)
			d.progress(int64(n))
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if d.have != d.w.Size || !d.whole() {
		got, sum := d.have, hex.EncodeToString(d.sum.Sum(nil))
		if err := d.truncate(0); err != nil {
			return err
		}
		if got != d.w.Size {
			return Mismatch("%s: it has %d bytes, the index says %d", httpx.Redact(url), got, d.w.Size)
		}
		if d.bad != nil {
			return fmt.Errorf("%s: %w", httpx.Redact(url), d.bad)
		}
		return Mismatch("%s: its SHA-256 is %.12s…, the index says %.12s…", httpx.Redact(url), sum, d.w.SHA256)
	}
	return nil
}

func (d *download) whole() bool {
	if d.w.Check != nil {
		d.bad = d.w.Check(d.f.Name())
		return d.bad == nil
	}
	return hex.EncodeToString(d.sum.Sum(nil)) == d.w.SHA256
}

// resume hashes what an earlier run left behind.
func (d *download) resume() error {
	n, err := io.Copy(d.sum, d.f)
	if err != nil {
		return &CacheError{filepath.Dir(d.f.Name()), err}
	}
	d.have = n
	d.progress(n)
	if n > d.w.Size || n == d.w.Size && !d.whole() {
		return d.truncate(0)
	}
	return nil
}

// truncate goes back to a place in the file; only its beginning is ever asked for
// in practice.
func (d *download) truncate(at int64) error {
	fail := func(err error) error { return &CacheError{filepath.Dir(d.f.Name()), err} }
	if err := d.f.Truncate(at); err != nil {
		return fail(err)
	}
	if _, err := d.f.Seek(0, io.SeekStart); err != nil {
		return fail(err)
	}
	d.progress(at - d.have)
	d.sum.Reset()
	n, err := io.Copy(d.sum, d.f)
	if err != nil {
		return fail(err)
	}
	d.have = n
	return nil
}
