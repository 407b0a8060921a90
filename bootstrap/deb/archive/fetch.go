package archive

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/cfbuild/cfbuild/pipelines"
)

const defaultJobs = 8

// Fetch downloads packages in parallel, verified. got is called once for each as
// it arrives or is found in the cache, by up to GOMAXPROCS goroutines at once and
// not by those that download, so that unpacking overlaps; large packages come
// first. The path stays in the cache and must not be changed. The first error ends
// everything; it is a *[MirrorsError], what got returned, one about the cache, or
// the context's.
func (c *Client) Fetch(ctx context.Context, pkgs []*Package, ev pipelines.Sink, got func(p *Package, path string) error) error {
	pkgs = slices.Clone(pkgs)
	slices.SortStableFunc(pkgs, func(a, b *Package) int { return cmp.Compare(b.Size, a.Size) })
	m := &meter{ev: ev}
	sets := map[*Suite]*mirrors{}
	for _, p := range pkgs {
		m.total += p.Size
		if sets[p.Suite] == nil {
			sets[p.Suite] = newMirrors(p.Suite.Mirrors)
		}
	}
	type item struct {
		p    *Package
		path string
	}
	queue := make(chan *Package, len(pkgs))
	for _, p := range pkgs {
		queue <- p
	}
	close(queue)
	arrived := make(chan item, len(pkgs))

	g, ctx := errgroup.WithContext(ctx)
	var loading sync.WaitGroup
	for range min(cmp.Or(c.Jobs, defaultJobs), len(pkgs)) {
		loading.Add(1)
		g.Go(func() error {
			defer loading.Done()
			for p := range queue {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				path, err := c.blob(ctx, want{what: "package " + p.String(), sha256: p.SHA256, size: p.Size, paths: []string{p.Filename}}, sets[p.Suite], m.add)
				if err != nil {
					return err
				}
				arrived <- item{p, path}
			}
			return nil
		})
	}
	go func() {
		loading.Wait()
		close(arrived)
	}()
	for range min(runtime.GOMAXPROCS(0), len(pkgs)) {
		g.Go(func() error {
			for it := range arrived {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := got(it.p, it.path); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// meter turns bytes into events, about a hundred in all.
type meter struct {
	ev          pipelines.Sink
	mu          sync.Mutex
	n, told     int64
	total       int64
	everStarted bool
}

func (m *meter) add(n int64) {
	m.mu.Lock()
	m.n += n
	now, tell := m.n, m.n >= m.told+m.total/100 || m.n == m.total || !m.everStarted
	if tell {
		m.told, m.everStarted = now, true
	}
	m.mu.Unlock()
	if tell {
		m.ev.Send(pipelines.Event{Kind: pipelines.EventProgress, Step: "download", Name: "download packages", Current: now, Total: m.total, Unit: "B"})
	}
}
