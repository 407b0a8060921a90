package progress

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
)

// TTYOptions sets up [TTY].
type TTYOptions struct {
	Now func() time.Time
	// Size gives the terminal's columns and rows, asked before each frame.
	Size func() (width, height int)
	// Color and Unicode say what the terminal can show.
	Color, Unicode bool
	// Every is the time between frames; default 100 ms. Negative: frames are
	// drawn by Close only, and by tests.
	Every time.Duration
}

// TTY shows what runs now at the bottom of a terminal, redrawn in place, with
// what has ended as ordinary lines above it. Each frame is one write, lines are
// overwritten rather than cleared, and nothing is written while nothing changes
// but the clock's tenths.
func TTY(w io.Writer, o TTYOptions) Renderer {
	t := &tty{w: w, o: o, done: make(chan struct{})}
	if o.Every == 0 {
		t.o.Every = 100 * time.Millisecond
	}
	if t.o.Every > 0 {
		t.wg.Go(t.loop)
	}
	return t
}

type tty struct {
	mu     sync.Mutex
	w      io.Writer
	o      TTYOptions
	state  state
	above  []string // lines to print above the live part
	shown  []string // the live part on the screen
	closed bool
	done   chan struct{}
	wg     sync.WaitGroup
}

func (t *tty) loop() {
	tick := time.NewTicker(t.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-t.done:
			return
		case <-tick.C:
			t.draw()
		}
	}
}

func (t *tty) Close() {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.closed = true
	t.mu.Unlock()
	close(t.done)
	t.wg.Wait()
	t.draw()
}

func (t *tty) Event(e pipelines.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	switch {
	case e.Kind == pipelines.EventWarning:
		t.say(yellow, t.mark("!"), e.Job, "warning: "+clean(e.Text))
	case e.Job == "" && e.Step != "" && routine(e.Kind): // asking a source before there are jobs
	case e.Kind == pipelines.EventNote || e.Job == "":
		if text := clean(or(e.Text, e.Name)); text != "" && e.Kind != pipelines.EventProgress {
			t.say(dim, t.mark("i"), e.Job, text)
		}
	case e.Step == "":
		t.jobEvent(e)
	default:
		t.stepEvent(e)
	}
}

func (t *tty) jobEvent(e pipelines.Event) {
	if e.Kind == pipelines.EventLog || e.Kind == pipelines.EventProgress {
		e.Step = "job"
		t.stepEvent(e)
		return
	}
	j := t.state.job(e)
	if e.Kind == pipelines.EventStart {
		j.name, j.start = or(e.Name, e.Job), e.Time
		return
	}
	took := Seconds(e.Time.Sub(j.start))
	switch e.Kind {
	case pipelines.EventDone:
		t.say(green, t.mark("v"), e.Job, fmt.Sprintf("built in %s  %s", took, short(e.Text)))
	case pipelines.EventCached:
		t.say(green, t.mark("v"), e.Job, fmt.Sprintf("unchanged  %s", short(e.Text)))
	case pipelines.EventFailed:
		t.say(red, t.mark("x"), e.Job, fmt.Sprintf("failed after %s: %s", took, clean(firstLine(e.Text))))
	}
	t.state.remove(e.Job)
}

func (t *tty) stepEvent(e pipelines.Event) {
	j := t.state.job(e)
	if finished(e.Kind) {
		st := j.ended(e.Step)
		name, took := or(e.Name, e.Step), ""
		if st != nil {
			name, took = st.name, "  "+Seconds(e.Time.Sub(st.start))
		}
		switch e.Kind {
		case pipelines.EventDone:
			if e.Text != "" {
				name += ": " + clean(firstLine(e.Text))
			}
			t.say("", t.mark("v"), e.Job, name+took)
		case pipelines.EventCached:
			t.say(dim, t.mark("-"), e.Job, name+"  cached")
		default:
			t.say(red, t.mark("x"), e.Job, name+": "+clean(firstLine(e.Text)))
		}
		if len(j.steps) == 0 && j.name == j.id {
			t.state.remove(j.id) // a push: it never started as a job
		}
		return
	}
	st := j.step(e)
	switch e.Kind {
	case pipelines.EventLog:
		if text := clean(e.Text); strings.TrimSpace(text) != "" {
			st.log = text
		}
	case pipelines.EventProgress:
		st.measured, st.amount = true, e
	}
}

// short is a digest as people compare them.
func short(digest string) string {
	if hex, ok := strings.CutPrefix(digest, "sha256:"); ok && len(hex) > 12 {
		return "sha256:" + hex[:12]
	}
	return digest
}

func (t *tty) say(color, mark, job, text string) {
	t.above = append(t.above, t.paint(color, mark+" "+prefix(job)+text))
}

// draw writes one frame: up to the first live line, what is new above, the live
// lines, and nothing left below.
func (t *tty) draw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	width, height := t.o.Size()
	width, height = max(width, 20), max(height, 4)
	var live []string
	if !t.closed {
		live = t.frame(t.o.Now(), width-1, height-1)
	}
	if len(t.above) == 0 && equal(live, t.shown) {
		return
	}
	var b bytes.Buffer
	b.WriteString("\x1b[?2026h") // synchronized output: terminals without it ignore this
	// A terminal that became narrower has wrapped the lines of the last frame.
	rows := 0
	for _, l := range t.shown {
		rows += max(1, (columns(clean(l))+width-1)/width)
	}
	if rows = min(rows, height-1); rows > 0 { // what scrolled away is out of reach
		fmt.Fprintf(&b, "\x1b[%dA", rows)
	}
	b.WriteByte('\r')
	for _, l := range t.above {
		b.WriteString(l + "\x1b[K\r\n")
	}
	for _, l := range live {
		b.WriteString(l + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J\x1b[?2026l")
	t.above, t.shown = nil, live
	t.w.Write(b.Bytes())
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
