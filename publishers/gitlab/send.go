package gitlab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	api "gitlab.com/gitlab-org/api/client-go"
)

// content is what a file holds: on disk, or in memory.
type content struct {
	name, path string
	at         io.ReaderAt
	file       *os.File
	size       int64
	changed    time.Time
}

// open opens a file of the caller; it is closed with [content.close].
func open(f File) (*content, error) {
	if f.Path == "" {
		return &content{name: f.Name, at: bytes.NewReader(f.Data), size: int64(len(f.Data))}, nil
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: is not a regular file", f.Path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &content{f.Name, f.Path, file, file, info.Size(), info.ModTime()}, nil
}

func (c *content) close() {
	if c.file != nil {
		c.file.Close()
	}
}

// same says that the file on disk is still the one that was opened.
func (c *content) same() error {
	if c.file == nil {
		return nil
	}
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != c.size || !info.ModTime().Equal(c.changed) {
		return fmt.Errorf("%s: changed while it was sent", c.path)
	}
	return nil
}

// sum reads it whole.
func (c *content) sum(ctx context.Context) (string, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	r := io.NewSectionReader(c.at, 0, c.size)
	for {
		if err := context.Cause(ctx); err != nil {
			return "", err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), c.same()
		}
		if err != nil {
			return "", err
		}
	}
}

// body is a content on its way out. As an io.ReadSeeker with a Len it is streamed by
// client-go; a plain reader would be held in memory.
type body struct {
	c     *content
	alive func(n int64)

	mu  sync.Mutex
	pos int64
	sum hash.Hash
	err error
}

func newBody(c *content, alive func(int64)) *body {
	return &body{c: c, alive: alive, sum: sha256.New()}
}

func (b *body) Len() int { return int(b.c.size) }

// Seek goes to the beginning, which is all that is asked for.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.New("seeking elsewhere than to the beginning")
	}
	b.pos = 0
	b.sum.Reset()
	return 0, nil
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pos == b.c.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.c.size-b.pos)]
	n, err := b.c.at.ReadAt(p, b.pos)
	if n > 0 {
		b.sum.Write(p[:n])
		b.pos += int64(n)
		b.alive(int64(n))
		return n, nil
	}
	if err == io.EOF {
		err = fmt.Errorf("%s: became shorter while it was sent", b.c.path)
	}
	b.err = err
	return 0, err
}

// state is how much was read, the SHA-256 of a whole read, and a fault of the disk.
func (b *body) state() (n int64, sum string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pos, hex.EncodeToString(b.sum.Sum(nil)), b.err
}

// send uploads a file and gives the SHA-256 of what was sent, which is what GitLab
// has. status is that of the package from then on; empty leaves it.
func (c *Client) send(ctx context.Context, f *content, status string, p *publishers.Progress) (sum string, stored copyOf, err error) {
	ambiguous := false
	err = c.repeat(ctx, "sending "+f.name, func(ctx context.Context) error {
		if ambiguous { // the last try may have arrived all the same
			now, err := c.look(ctx, []string{f.name})
			if err != nil {
				return &finalError{err} // repeated already
			}
			if have, ok := now.newest(f.name); ok && have.sha256 == sum && (status == "" || now.status == status || now.id == 0) {
				stored = have
				p.Add(f.size)
				return nil
			}
		}
		opt := &api.PublishPackageFileOptions{Select: api.Ptr(api.SelectPackageFile)}
		if status != "" {
			opt.Status = api.Ptr(api.GenericPackageStatusValue(status))
		}
		var b *body
		var got *api.GenericPackagesFile
		var resp *api.Response
		err := c.watched(ctx, func(ctx context.Context, alive func()) (err error) {
			b = newBody(f, func(n int64) { alive(); p.Add(n) })
			got, resp, err = c.gl.GenericPackages.PublishPackageFile(c.o.Project, c.o.Package, c.o.Version, f.name, b, opt, api.WithContext(ctx))
			return err
		})
		n, sent, local := b.state()
		if err != nil {
			p.Add(-n)
			if local != nil {
				return &finalError{local}
			}
			ambiguous, sum = n == f.size, sent
			if err = c.understand(err, resp); statusOf(err) == http.StatusExpectationFailed {
				c.unasked.Store(true)
			}
			return err
		}
		c.o.Events.Send(pipelines.Event{Kind: pipelines.EventNote, Step: "push", Text: fmt.Sprintf("%s: %d bytes, sha256:%s", f.name, f.size, sent)})
		if n != f.size {
			p.Add(-n)
			return fmt.Errorf("%w: GitLab took %s after %d of %d bytes", errReadBack, f.name, n, f.size)
		}
		if err := f.same(); err != nil {
			c.discard(ctx, got)
			return &finalError{err}
		}
		if have := strings.ToLower(got.FileSHA256); have != "" && have != sent || got.ID != 0 && got.Size != f.size {
			p.Add(-n)
			c.discard(ctx, got)
			return fmt.Errorf("%w: GitLab has %d bytes with SHA-256 %s, sent were %d with %s", errReadBack, got.Size, have, f.size, sent)
		}
		sum, stored = sent, copyOf{got.ID, f.size, sent}
		return nil
	})
	return sum, stored, err
}

// discard deletes a file that must not stay. That it cannot is said.
func (c *Client) discard(ctx context.Context, f *api.GenericPackagesFile) {
	if f == nil || f.ID == 0 {
		return
	}
	if err := c.deleteFile(ctx, f.PackageID, f.ID); err != nil {
		c.warn("%s: file %d of package %d is damaged and could not be deleted: %v", c.host, f.ID, f.PackageID, err)
	}
}
