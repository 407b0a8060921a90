//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// tailLines is how much of a failed step's log its error shows.
const tailLines = 20

// longLine is where a line is cut (bytes).
const longLine = 8 << 10

// phase is how far a vertex is.
type phase int

const (
	waiting phase = iota
	running
	ended
)

// watch turns what the daemon says about vertices into events, each step's start and
// end once.
type watch struct {
	mu      sync.Mutex
	l       *lowering
	send    func(n pipelines.Node, kind pipelines.EventKind, text string)
	claim   func(d digest.Digest, started time.Time) bool
	secrets [][]byte
	// cache is shown what becomes of outside caches.
	cache func(v *client.Vertex)
	// said are the events of each node that were sent.
	said map[string]pipelines.EventKind
	// late is called when a step has been running for longer than its Timeout.
	late func(n pipelines.Node)

	keys  map[digest.Digest]string
	steps map[string]*progress

	ran, cached int
}

// progress is one vertex.
type progress struct {
	phase phase
	vtx   *vertex
	// loading: the result comes from a cache. What is fetched for it looks like work
	// of the vertex.
	loading bool
	buf     []byte
	tail    []string
	crash   bool // the emulator said that it crashed
	timer   *time.Timer
}

func newWatch(l *lowering) *watch {
	return &watch{l: l, keys: map[digest.Digest]string{}, steps: map[string]*progress{}, said: map[string]pipelines.EventKind{}}
}

// run takes statuses until there are no more.
func (w *watch) run(from <-chan *client.SolveStatus) {
	for s := range from {
		w.mu.Lock()
		for _, v := range s.Vertexes {
			w.vertex(v)
			w.cache(v)
		}
		for _, l := range s.Logs {
			if p := w.steps[w.keys[l.Vertex]]; p != nil {
				w.log(p, l.Data)
			}
		}
		for _, v := range s.Vertexes {
			w.end(v)
		}
		w.mu.Unlock()
	}
}

// of finds a vertex by the key in its name.
func (w *watch) of(v *client.Vertex) *progress {
	key, ok := keyOf(v.Name)
	if !ok {
		return nil
	}
	w.keys[v.Digest] = key
	if p := w.steps[key]; p != nil {
		return p
	}
	vtx := w.l.vertex(key)
	if vtx == nil {
		return nil
	}
	p := &progress{vtx: vtx}
	w.steps[key] = p
	return p
}

// vertex notes that one has started.
func (w *watch) vertex(v *client.Vertex) {
	p := w.of(v)
	if p == nil || v.Started == nil {
		return
	}
	if v.Cached {
		p.loading = v.Completed == nil
	}
	if v.Cached || p.loading || p.phase != waiting {
		return
	}
	p.phase = running
	w.each(p, pipelines.EventStart)
	if n := p.vtx.nodes[0]; n.Timeout > 0 && !p.vtx.source {
		p.timer = time.AfterFunc(time.Duration(n.Timeout), func() { w.late(n) })
	}
}

// end notes that one is done. Errors come with the build's answer.
func (w *watch) end(v *client.Vertex) {
	p := w.of(v)
	if p == nil || v.Completed == nil || v.Error != "" || p.phase == ended || p.loading {
		return
	}
	kind := pipelines.EventDone
	if v.Cached {
		kind = pipelines.EventCached
	}
	was := p.phase
	w.flush(p)
	p.phase = ended
	p.stop()
	w.each(p, kind)
	switch {
	case p.vtx.source || p.vtx.quiet:
	case v.Cached, was == running && !w.claim(v.Digest, *v.Started):
		w.cached += len(p.vtx.nodes)
	default:
		w.ran += len(p.vtx.nodes)
	}
}

func (p *progress) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

func (w *watch) each(p *progress, kind pipelines.EventKind) {
	if p.vtx.quiet {
		return
	}
	for _, n := range p.vtx.nodes {
		w.say(n, kind, "")
	}
}

// say sends a start or an end, each once.
func (w *watch) say(n pipelines.Node, kind pipelines.EventKind, text string) {
	switch was := w.said[n.ID]; {
	case was == kind, was != "" && was != pipelines.EventStart:
		return
	}
	w.said[n.ID] = kind
	w.send(n, kind, text)
}

// close ends the clocks.
func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.steps {
		p.stop()
	}
}

// log turns output into lines.
func (w *watch) log(p *progress, b []byte) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		p.buf = append(p.buf, b[:i]...)
		w.line(p)
		b = b[i+1:]
	}
	if p.buf = append(p.buf, b...); len(p.buf) > longLine {
		w.line(p)
	}
}

func (w *watch) flush(p *progress) {
	if len(p.buf) > 0 {
		w.line(p)
	}
}

// line sends what is gathered. Of a line that was written over (a progress bar)
// the last state counts.
func (w *watch) line(p *progress) {
	b := bytes.TrimRight(p.buf, "\r")
	if i := bytes.LastIndexByte(b, '\r'); i >= 0 {
		b = b[i+1:]
	}
	b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	for _, s := range w.secrets {
		b = bytes.ReplaceAll(b, s, []byte("***"))
	}
	p.buf = p.buf[:0]
	if bytes.Contains(b, []byte("uncaught target signal")) {
		p.crash = true
	}
	text := string(b)
	if p.tail = append(p.tail, text); len(p.tail) > tailLines {
		p.tail = p.tail[1:]
	}
	w.send(p.vtx.nodes[0], pipelines.EventLog, text)
}

// step gives the vertex of a digest, as the daemon's errors name it.
func (w *watch) step(d digest.Digest) (*progress, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.steps[w.keys[d]]
	if p != nil {
		w.flush(p)
	}
	return p, p != nil
}

// finish ends what is still open: as failed the step with that node. The others ended
// with the build.
func (w *watch) finish(n pipelines.Node, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.ID != "" {
		w.say(n, pipelines.EventFailed, text)
	}
	for _, p := range w.steps {
		p.stop()
		if p.vtx.quiet {
			continue
		}
		for _, m := range p.vtx.nodes {
			if w.said[m.ID] == pipelines.EventStart {
				w.say(m, pipelines.EventDone, "")
			}
		}
	}
}

// done counts the steps that the daemon was not asked about: what lies below a
// cached result is not looked at.
func (w *watch) done(nodes []pipelines.Node) (ran, cached int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.steps {
		p.stop()
	}
	seen := map[string]bool{}
	for _, p := range w.steps {
		if p.phase == ended && !p.vtx.quiet {
			for _, n := range p.vtx.nodes {
				seen[n.ID] = true
			}
		}
	}
	for _, group := range groups(nodes) {
		last := group[len(group)-1]
		if seen[last.ID] {
			continue
		}
		for _, n := range group {
			w.say(n, pipelines.EventCached, "")
		}
		if slices.ContainsFunc(group, changes) {
			w.cached += len(group)
		}
	}
	return w.ran, w.cached
}
