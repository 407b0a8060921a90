package publishers

import (
	"sync"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Progress tells how far a push is: an event for each percent, at most. Several
// goroutines may add to it.
type Progress struct {
	// Events may be nil, Name is what is pushed where.
	Events pipelines.Sink
	Name   string
	// Total is how many bytes there are to send.
	Total int64

	mu         sync.Mutex
	now, shown int64
}

// Add counts bytes that were sent, or with a negative number are to be sent again.
func (p *Progress) Add(n int64) {
	p.mu.Lock()
	p.now += n
	show := p.now >= p.shown+max(p.Total/100, 64<<10) || p.now < p.shown || p.now == p.Total
	if show {
		p.shown = p.now
	}
	e := pipelines.Event{Kind: pipelines.EventProgress, Step: "push", Name: p.Name, Current: p.now, Total: p.Total, Unit: "B"}
	p.mu.Unlock()
	if show {
		p.Events.Send(e)
	}
}
