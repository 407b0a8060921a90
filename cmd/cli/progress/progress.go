// Package progress shows the event stream of a run: live on a terminal ([TTY]),
// as lines with GitLab's collapsible sections ([Plain]), or as JSON lines ([JSON]).
//
// A renderer may be called by several goroutines at once, never blocks on
// anything but its writer, and writes whole lines only.
package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Renderer shows events.
type Renderer interface {
	// Event takes one event. Its Time is set.
	Event(e pipelines.Event)
	// Close finishes: nothing live stays on the screen, no section stays open.
	// Events after Close are dropped.
	Close()
}

// Sink gives a sink that stamps events that have no time and hands them on.
func Sink(r Renderer, now func() time.Time) pipelines.Sink {
	return func(e pipelines.Event) {
		if e.Time.IsZero() {
			e.Time = now()
		}
		r.Event(e)
	}
}

// JSON writes each event as one line of JSON.
func JSON(w io.Writer) Renderer { return &jsonLines{w: w} }

type jsonLines struct {
	mu     sync.Mutex
	w      io.Writer
	closed bool
}

func (j *jsonLines) Event(e pipelines.Event) {
	e.Time = e.Time.UTC()
	b, err := json.Marshal(e)
	if err != nil {
		return // an Event is strings and numbers: cannot happen
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		j.w.Write(append(b, '\n'))
	}
}

func (j *jsonLines) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
}

// Bytes writes a size for people: "512 B", "28.4 MB" (powers of ten, as
// registries and mirrors count).
func Bytes(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for f >= 999.95 && i < 4 {
		f /= unit
		i++
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGTP"[i])
}

// Seconds writes a duration for people: "0.3s", "12.1s", "3m05s", "1h02m".
func Seconds(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0s"
	case d < 59950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// amount writes how far a step is: "58% 32.1/55.0 MB", "12/97 packages", "4.0 MB".
func amount(e pipelines.Event) string {
	cur, total := e.Current, e.Total
	bytes := e.Unit == "B"
	switch {
	case total > 0 && bytes:
		return fmt.Sprintf("%3d%% %s/%s", percent(cur, total), Bytes(cur), Bytes(total))
	case total > 0:
		return strings.TrimSpace(fmt.Sprintf("%3d%% %d/%d %s", percent(cur, total), cur, total, e.Unit))
	case bytes:
		return Bytes(cur)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", cur, e.Unit))
}

func percent(cur, total int64) int64 {
	return max(0, min(100, int64(float64(cur)*100/float64(total))))
}

// firstLine of a message; the rest is repeated when the run ends.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
