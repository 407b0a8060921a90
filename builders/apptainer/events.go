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
	step  *pipelines.Node
	own   bool // the step is Apptainer's own work
	bare  bool // the exit status is the step's
	owns  int
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

func (t *teller) line(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest, ok := strings.CutPrefix(s, t.mark+" "); ok {
		t.leave()
		if n, ok := t.graph.Node("sha256:" + rest); ok {
			t.enter(n)
			t.tail = nil
			t.ran++
		}
		return
	}
	if t.tail = append(t.tail, s); len(t.tail) > 10*kept {
		t.tail = append([]string(nil), t.tail[len(t.tail)-kept:]...)
	}
	if t.step == nil {
		t.owns++
		t.enter(pipelines.Node{ID: fmt.Sprintf("apptainer-%d", t.owns), Name: "apptainer build"})
		t.own = true
	}
	if m := level.FindStringSubmatch(s); t.own && m != nil && m[1] == "WARNING" && !dull(s) {
		t.send(pipelines.Event{Kind: pipelines.EventWarning, Text: "apptainer: " + s[len(m[0]):]})
	}
	t.about(pipelines.EventLog, *t.step, s)
}

// dull are warnings that are about how Apptainer is run here.
func dull(s string) bool {
	return strings.Contains(s, "No default remote in use") || strings.Contains(s, "'nodev' mount option set") || strings.Contains(s, "nosuid")
}

func (t *teller) enter(n pipelines.Node) {
	t.step, t.own = &n, false
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
		return nil
	}
	tail := t.tail[max(0, len(t.tail)-kept):]
	m := failed.FindStringSubmatch(strings.Join(tail, "\n"))
	var exit *exitError
	if t.bare && errors.As(err, &exit) {
		m = []string{"", "post", strconv.Itoa(exit.code), "", ""}
	}
	switch {
	case t.step == nil || t.own:
		err = diagnose(err, tail)
	case errors.Is(err, errTimeout):
		err = &builders.StepError{Node: *t.step, ExitCode: -1, TimedOut: true, Tail: tail, Err: err}
	case m != nil && known(tail) == nil:
		code, _ := strconv.Atoi(m[2] + m[4])
		var said []string
		for _, l := range tail {
			if !failed.MatchString(l) {
				said = append(said, l)
			}
		}
		if _, ok := t.step.Op.(pipelines.Run); !ok { // a command of ours
			code, err = -1, errors.New("it cannot be done")
		}
		err = &builders.StepError{Node: *t.step, ExitCode: code, Tail: said, Err: err}
	case known(tail) != nil:
		err = &builders.StepError{Node: *t.step, ExitCode: -1, Tail: tail, Err: diagnose(err, tail)}
	default:
		if errors.As(err, &exit) {
			err = &builders.StepError{Node: *t.step, ExitCode: -1, Tail: tail, Err: err}
		}
	}
	if t.step != nil {
		t.about(pipelines.EventFailed, *t.step, err.Error())
	}
	return err
}
