package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
)

// PlainOptions sets up [Plain].
type PlainOptions struct {
	// GitLab folds each step into a collapsible section.
	GitLab bool
	// Every bounds how often one step's progress is written; default 10 s.
	Every time.Duration
}

// Plain writes one line for each thing that happens, as logs want it. With
// GitLab, each step is a collapsed section; sections cannot overlap, so one step
// is written as it runs and what others say waits until that section is closed.
func Plain(w io.Writer, o PlainOptions) Renderer {
	if o.Every <= 0 {
		o.Every = 10 * time.Second
	}
	p := &plain{w: w, every: o.Every}
	if o.GitLab {
		p.fold = &folder{}
	}
	return p
}

type plain struct {
	mu     sync.Mutex
	w      io.Writer
	every  time.Duration
	state  state
	last   time.Time
	fold   *folder
	closed bool
}

func (p *plain) Event(e pipelines.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.last = e.Time
	switch {
	case e.Job == "" && e.Step != "" && routine(e.Kind): // asking a source before there are jobs
	case e.Job == "":
		p.line(e, "", remark(e))
	case e.Step == "":
		p.jobEvent(e)
	default:
		p.stepEvent(e)
	}
}

func (p *plain) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && p.fold != nil {
		p.emit(p.fold.closeAll(p.last))
	}
	p.closed = true
}

// remark is what an event says that belongs to no step.
func remark(e pipelines.Event) string {
	text := clean(e.Text)
	switch e.Kind {
	case pipelines.EventWarning:
		return "warning: " + text
	case pipelines.EventFailed:
		return strings.TrimSpace(e.Name + " failed: " + firstLine(e.Text))
	case pipelines.EventProgress:
		return strings.TrimSpace(amount(e))
	case pipelines.EventStart:
		return e.Name
	case pipelines.EventDone, pipelines.EventCached:
		return strings.TrimSpace(e.Name + " " + string(e.Kind) + " " + text)
	}
	return text
}

func (p *plain) jobEvent(e pipelines.Event) {
	if e.Kind == pipelines.EventProgress {
		return
	}
	j := p.state.job(e)
	switch e.Kind {
	case pipelines.EventStart:
		p.line(e, "", "start: "+or(e.Name, e.Job))
	case pipelines.EventDone:
		p.line(e, "", fmt.Sprintf("done in %s: %s", Seconds(e.Time.Sub(j.start)), e.Text))
	case pipelines.EventCached:
		p.line(e, "", fmt.Sprintf("nothing to do in %s: %s", Seconds(e.Time.Sub(j.start)), e.Text))
	case pipelines.EventFailed:
		for _, st := range j.steps { // what never said how it ended
			p.close(e, st, "")
		}
		p.line(e, "", fmt.Sprintf("failed after %s: %s", Seconds(e.Time.Sub(j.start)), clean(firstLine(e.Text))))
	default:
		p.line(e, "", remark(e))
	}
	if finished(e.Kind) {
		p.state.remove(e.Job)
	}
}

func (p *plain) stepEvent(e pipelines.Event) {
	j := p.state.job(e)
	if e.Kind == pipelines.EventCached && !running(j, e.Step) {
		p.line(e, "", "cached: "+or(e.Name, e.Step))
		return
	}
	known := running(j, e.Step)
	st := j.step(e)
	if !known {
		title := st.name
		if st.where != "" {
			title += " (" + st.where + ")"
		}
		p.open(e, st, title)
	}
	switch e.Kind {
	case pipelines.EventStart:
	case pipelines.EventLog:
		p.line(e, st.id, "  "+clean(e.Text))
	case pipelines.EventProgress:
		if !st.measured || e.Time.Sub(st.amount.Time) >= p.every {
			st.measured, st.amount = true, e
			p.line(e, st.id, "  "+st.name+": "+strings.TrimSpace(amount(e)))
		}
	case pipelines.EventDone, pipelines.EventCached, pipelines.EventFailed:
		how := "done in " + Seconds(e.Time.Sub(st.start))
		if e.Kind == pipelines.EventCached {
			how = "cached"
		}
		if e.Kind == pipelines.EventFailed {
			how = "failed after " + Seconds(e.Time.Sub(st.start)) + ": " + clean(firstLine(e.Text))
		} else if e.Text != "" {
			how += ": " + clean(firstLine(e.Text))
		}
		p.close(e, st, prefix(e.Job)+st.name+": "+how+"\n")
		j.ended(st.id)
	default:
		p.line(e, st.id, "  "+remark(e))
	}
}

func running(j *job, id string) bool {
	for _, st := range j.steps {
		if st.id == id {
			return true
		}
	}
	return false
}

func (p *plain) open(e pipelines.Event, st *step, title string) {
	if p.fold == nil {
		p.line(e, st.id, "> "+title)
		return
	}
	p.emit(p.fold.open(section{key: e.Job + "\x00" + st.id, name: e.Job + "-" + st.id, title: prefix(e.Job) + title, start: e.Time}))
}

// close ends a step; said is the line about it.
func (p *plain) close(e pipelines.Event, st *step, said string) {
	if p.fold != nil {
		said = p.fold.close(e.Job+"\x00"+st.id, said, e.Time)
	}
	p.emit(said)
}

// line writes one line of a step, or of no step.
func (p *plain) line(e pipelines.Event, stepID, text string) {
	text = prefix(e.Job) + text + "\n"
	if p.fold != nil {
		text = p.fold.write(e.Job+"\x00"+stepID, stepID != "", text)
	}
	p.emit(text)
}

func (p *plain) emit(text string) {
	if text != "" {
		io.WriteString(p.w, text)
	}
}

func prefix(job string) string {
	if job == "" {
		return ""
	}
	return "[" + job + "] "
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
