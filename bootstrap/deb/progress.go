package deb

import (
	"sync/atomic"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/pipelines"
)

// progress shows unpacking and writing the layer as one thing: half each.
type progress struct {
	ev    pipelines.Sink
	total int64
	done  atomic.Int64
	told  atomic.Int64
}

func newProgress(ev pipelines.Sink, set selection) *progress {
	p := &progress{ev: ev}
	for _, q := range set.Packages {
		p.total += 2 * q.InstalledSize << 10
	}
	return p
}

func (p *progress) add(q *archive.Package) { p.tell(p.done.Add(q.InstalledSize << 10)) }

func (p *progress) write(done, total int64) {
	if total > 0 {
		p.tell(p.total/2 + int64(float64(p.total/2)*float64(done)/float64(total)))
	}
}

func (p *progress) tell(n int64) {
	told := p.told.Load()
	if n < told+p.total/100 && n < p.total || !p.told.CompareAndSwap(told, n) {
		return
	}
	p.ev.Send(pipelines.Event{Kind: pipelines.EventProgress, Name: "unpack packages", Current: min(n, p.total), Total: p.total, Unit: "B"})
}
