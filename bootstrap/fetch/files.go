package fetch

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

// File is one file and where it can be had.
type File struct {
	Want
	Mirrors *Mirrors
}

// Files downloads files in parallel, verified. got is called once for each, by its
// index, as it arrives or is found in the cache, by up to GOMAXPROCS goroutines at
// once and not by those that download, so that unpacking overlaps; large files come
// first. The path stays in the cache and must not be changed. The first error ends
// everything; it is a *[MirrorsError], what got returned, a *[CacheError], or the
// context's.
func (c *Client) Files(ctx context.Context, files []File, ev pipelines.Sink, got func(i int, path string) error) error {
	order := make([]int, len(files))
	m := &meter{ev: ev}
	for i, f := range files {
		order[i] = i
		m.total += f.Size
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(files[b].Size, files[a].Size) })
	type item struct {
		i    int
		path string
	}
	queue := make(chan int, len(files))
	for _, i := range order {
		queue <- i
	}
	close(queue)
	arrived := make(chan item, len(files))

	g, ctx := errgroup.WithContext(ctx)
	var loading sync.WaitGroup
	for range min(cmp.Or(c.Jobs, defaultJobs), len(files)) {
		loading.Add(1)
		g.Go(func() error {
			defer loading.Done()
			for i := range queue {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				path, err := c.Blob(ctx, files[i].Want, files[i].Mirrors, m.add)
				if err != nil {
					return err
				}
				arrived <- item{i, path}
			}
			return nil
		})
	}
	go func() {
		loading.Wait()
		close(arrived)
	}()
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		g.Go(func() error {
			for it := range arrived {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := got(it.i, it.path); err != nil {
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
