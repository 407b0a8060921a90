package pool

import (
	"maps"
	"slices"
	"sync"

	"github.com/cfbuild/cfbuild/pipelines"
)

// once passes the events of several attempts at one build on as those of one: a step
// starts once and ends once, though a second worker begins from the start again.
// Failures are kept back until it is sure that the build failed.
type once struct {
	next pipelines.Sink

	mu         sync.Mutex
	open, done map[string]bool // steps
	attempt    int
	job        string
	failed     []pipelines.Event // of this attempt
}

func newOnce(next pipelines.Sink) *once {
	return &once{next: next, open: map[string]bool{}, done: map[string]bool{}}
}

// sink begins an attempt. What an attempt before it still says is dropped.
func (o *once) sink() pipelines.Sink {
	if o.next == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attempt++
	o.failed = nil
	mine := o.attempt
	return func(e pipelines.Event) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if mine == o.attempt && o.pass(e) {
			o.next(e)
		}
	}
}

func (o *once) pass(e pipelines.Event) bool {
	switch e.Kind {
	case pipelines.EventStart:
		if o.open[e.Step] || o.done[e.Step] {
			return false
		}
		o.open[e.Step], o.job = true, e.Job
	case pipelines.EventDone, pipelines.EventCached:
		if o.done[e.Step] {
			return false
		}
		delete(o.open, e.Step)
		o.done[e.Step] = true
	case pipelines.EventFailed:
		if !o.done[e.Step] {
			o.failed = append(o.failed, e)
		}
		return false
	}
	return true
}

// settle passes on what was kept back, as there is no other attempt, and ends steps
// that only a lost worker had begun.
func (o *once) settle(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attempt++
	if o.next == nil {
		return
	}
	for _, e := range o.failed {
		delete(o.open, e.Step)
		o.next(e)
	}
	for _, step := range slices.Sorted(maps.Keys(o.open)) {
		e := pipelines.Event{Kind: pipelines.EventDone, Job: o.job, Step: step}
		if err != nil {
			e.Kind, e.Text = pipelines.EventFailed, "the build ended before"
		}
		o.next(e)
	}
}

func (o *once) warn(job, text string) {
	o.next.Send(pipelines.Event{Kind: pipelines.EventWarning, Job: job, Text: text})
}
