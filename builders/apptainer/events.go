package apptainer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

var (
	colour = regexp.MustCompile("\x1b\\[[0-9;]*m")
	failed = regexp.MustCompile(`while running %(post|setup) section: exit status (\d+)|failed to run %(setup) script: exit status (\d+)`)
	level  = regexp.MustCompile(`^(INFO|WARNING|ERROR|FATAL|VERBOSE|DEBUG) *: +`)
)

// kept is how many lines of output an error shows.
const kept = 20

// teller turns lines of apptainer build into events. Steps announce themselves by lines
// that begin with mark, a word that depends on the graph alone, for it is in the SIF.
type teller struct {
	events pipelines.Sink
	graph  pipelines.Graph
	job    string
	mark   string
	stop   context.CancelCauseFunc

	mu    sync.Mutex
	all   pipelines.Node // the pass itself
	step  *pipelines.Node
	tail  []string
	timer *time.Timer
	ran   int
}

var errTimeout = errors.New("timed out")

// marker is the command that announces a step, or its end.
func (t *teller) marker(n pipelines.Node, ended bool) string {
	if ended {
		return "echo " + t.mark + " end"
	}
	return "echo " + t.mark + " " + strings.TrimPrefix(n.ID, "sha256:")
}

func (t *teller) send(e pipelines.Event) {
	e.Job = t.job
	t.events.Send(e)
}

func (t *teller) about(kind pipelines.EventKind, n pipelines.Node, text string) {
	t.send(pipelines.Event{Kind: kind, Step: n.ID, Name: n.Name, Where: n.Where.String(), Text: text})
}

func (t *teller) start(i int) {
	t.all = pipelines.Node{ID: fmt.Sprintf("apptainer-%d", i), Name: "apptainer build"}
	t.about(pipelines.EventStart, t.all, "")
}

func (t *teller) line(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest, ok := strings.CutPrefix(s, t.mark+" "); ok {
		t.leave()
		if n, ok := t.graph.Node("sha256:" + rest); ok {
			t.enter(n)
		}
		return
	}
	if t.tail = append(t.tail, s); len(t.tail) > 10*kept {
		t.tail = append([]string(nil), t.tail[len(t.tail)-kept:]...)
	}
	if t.step != nil {
		t.about(pipelines.EventLog, *t.step, s)
		return
	}
	if m := level.FindStringSubmatch(s); m != nil && m[1] == "WARNING" && !dull(s) {
		t.send(pipelines.Event{Kind: pipelines.EventWarning, Text: "apptainer: " + s[len(m[0]):]})
	}
	t.about(pipelines.EventLog, t.all, s)
}

// dull are warnings that are about how Apptainer is run here.
func dull(s string) bool {
	return strings.Contains(s, "No default remote in use") || strings.Contains(s, "'nodev' mount option set") || strings.Contains(s, "nosuid")
}

func (t *teller) enter(n pipelines.Node) {
	t.step, t.tail = &n, nil
	t.ran++
	t.about(pipelines.EventStart, n, "")
	if n.Timeout > 0 {
		t.timer = time.AfterFunc(time.Duration(n.Timeout), func() { t.stop(errTimeout) })
	}
}

// leave ends the step that is on.
func (t *teller) leave() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if t.step != nil {
		t.about(pipelines.EventDone, *t.step, "")
		t.step = nil
	}
}

// end says how the pass ended and what its error is.
func (t *teller) end(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.leave()
		t.about(pipelines.EventDone, t.all, "")
		return nil
	}
	tail := t.tail[max(0, len(t.tail)-kept):]
	m := failed.FindStringSubmatch(strings.Join(tail, "\n"))
	switch {
	case t.step == nil || t.step.ID == "":
		err = diagnose(err, tail)
	case errors.Is(err, errTimeout):
		err = &builders.StepError{Node: *t.step, ExitCode: -1, TimedOut: true, Tail: tail, Err: err}
	case m != nil && known(tail) == nil:
		code, _ := strconv.Atoi(m[2])
		var said []string
		for _, l := range tail {
			if !failed.MatchString(l) {
				said = append(said, l)
			}
		}
		err = &builders.StepError{Node: *t.step, ExitCode: code, Tail: said, Err: err}
	case known(tail) != nil:
		err = &builders.StepError{Node: *t.step, ExitCode: -1, Tail: tail, Err: diagnose(err, tail)}
	default:
		var exit *exitError
		if errors.As(err, &exit) {
			err = &builders.StepError{Node: *t.step, ExitCode: -1, Tail: tail, Err: err}
		}
	}
	if t.step != nil {
		t.about(pipelines.EventFailed, *t.step, err.Error())
	}
	t.about(pipelines.EventFailed, t.all, err.Error())
	return err
}
