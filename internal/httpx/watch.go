package httpx

import (
	"context"
	"sync"
	"time"
)

// watch ends a request that stalls or only drips. It counts only while someone is
// waiting for bytes, so a slow reader is no fault of the server.
type watch struct {
	mu      sync.Mutex
	timer   *time.Timer
	every   time.Duration
	cancel  context.CancelCauseFunc
	waiting bool
	done    bool
	// moved since the last tick and since the window began.
	moved, window int64
	// still counts ticks without a byte, slow those of the window.
	still, slow int
}

const (
	ticksPerStall = 4
	// A window of several stall times has to bring at least windowBytes.
	windowTicks = 4 * ticksPerStall
	windowBytes = 16 << 10
)

// newWatch gives a context that ends with errStalled.
func newWatch(ctx context.Context, stall time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{every: max(stall/ticksPerStall, time.Millisecond), cancel: cancel, waiting: true}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.every, w.tick)
	return ctx, w
}

func (w *watch) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	w.timer.Reset(w.every)
	if !w.waiting {
		return
	}
	w.still++
	if w.moved > 0 {
		w.still = 0
	}
	w.window += w.moved
	w.moved = 0
	w.slow++
	if w.window >= windowBytes {
		w.window, w.slow = 0, 0
	}
	if w.still >= ticksPerStall || w.slow >= windowTicks {
		w.done = true
		w.cancel(errStalled)
	}
}

// wait begins a time in which bytes are waited for; got ends it.
func (w *watch) wait() {
	w.mu.Lock()
	w.waiting = true
	w.mu.Unlock()
}

func (w *watch) got(n int) {
	w.mu.Lock()
	w.waiting = false
	w.moved += int64(n)
	if n > 0 {
		w.still = 0
	}
	w.mu.Unlock()
}

// stop releases the timer and the context.
func (w *watch) stop() {
	w.mu.Lock()
	w.done = true
	w.timer.Stop()
	w.mu.Unlock()
	w.cancel(context.Canceled)
}
