package progress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/pipelines"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// story is a run with two jobs at once, a cached step, a failure and a push; "at"
// is in tenths of a second.
func story() []pipelines.Event {
	const a, b = "debian12-amd64", "debian12-arm64"
	at := func(tenths int, e pipelines.Event) pipelines.Event {
		e.Time = began.Add(time.Duration(tenths) * 100 * time.Millisecond)
		return e
	}
	return []pipelines.Event{
		at(0, pipelines.Event{Kind: pipelines.EventStart, Step: "metadata", Name: "check the archive's metadata"}), // for no job: not shown
		at(0, pipelines.Event{Kind: pipelines.EventNote, Text: "builder podman: not installed"}),
		at(0, pipelines.Event{Kind: pipelines.EventStart, Job: a, Name: "debian12 for linux/amd64"}),
		at(1, pipelines.Event{Kind: pipelines.EventStart, Job: a, Step: "download", Name: "download packages"}),
		at(2, pipelines.Event{Kind: pipelines.EventProgress, Job: a, Step: "download", Current: 12_345_678, Total: 54_000_000, Unit: "B"}),
		at(3, pipelines.Event{Kind: pipelines.EventStart, Job: b, Name: "debian12 for linux/arm64"}),
		at(4, pipelines.Event{Kind: pipelines.EventStart, Job: b, Step: "resolve", Name: "resolve"}),
		at(5, pipelines.Event{Kind: pipelines.EventProgress, Job: b, Step: "resolve", Current: 97, Unit: "packages"}),
		at(6, pipelines.Event{Kind: pipelines.EventDone, Job: b, Step: "resolve", Text: "97 packages"}),
		at(7, pipelines.Event{Kind: pipelines.EventWarning, Job: b, Text: "mirror http://one.example/debian: 503"}),
		at(150, pipelines.Event{Kind: pipelines.EventProgress, Job: a, Step: "download", Current: 54_000_000, Total: 54_000_000, Unit: "B"}),
		at(151, pipelines.Event{Kind: pipelines.EventDone, Job: a, Step: "download"}),
		at(152, pipelines.Event{Kind: pipelines.EventStart, Job: a, Step: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			Name: "run configure packages", Where: "debian/debian.go:41"}),
		at(153, pipelines.Event{Kind: pipelines.EventLog, Job: a, Step: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
			Text: "Setting up \x1b[1mlibc6\x1b[0m:amd64 (2.36-9)\t..."}),
		at(154, pipelines.Event{Kind: pipelines.EventStart, Job: b, Step: "sha256:feed", Name: "run configure packages"}),
		at(155, pipelines.Event{Kind: pipelines.EventLog, Job: b, Step: "sha256:feed", Text: "10%\r50%\rdpkg: error"}),
		at(156, pipelines.Event{Kind: pipelines.EventFailed, Job: b, Step: "sha256:feed", Text: "exit status 1\nmore"}),
		at(157, pipelines.Event{Kind: pipelines.EventFailed, Job: b, Name: "debian12 for linux/arm64", Text: "step failed: exit status 1\n    dpkg: error"}),
		at(200, pipelines.Event{Kind: pipelines.EventDone, Job: a, Step: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}),
		at(201, pipelines.Event{Kind: pipelines.EventCached, Job: a, Step: "sha256:beef", Name: "file /etc/motd"}),
		at(202, pipelines.Event{Kind: pipelines.EventDone, Job: a, Name: "debian12 for linux/amd64", Text: "sha256:" + strings.Repeat("d", 64)}),
		at(203, pipelines.Event{Kind: pipelines.EventProgress, Job: "debian12", Step: "push", Name: "push", Current: 1, Total: 3, Unit: "blobs"}),
		at(204, pipelines.Event{Kind: pipelines.EventDone, Job: "debian12", Step: "push"}),
	}
}

func TestPlain(t *testing.T) {
	for name, o := range map[string]PlainOptions{"plain.txt": {}, "gitlab.txt": {GitLab: true}} {
		var b bytes.Buffer
		r := Plain(&b, o)
		for _, e := range story() {
			r.Event(e)
		}
		r.Close()
		r.Event(pipelines.Event{Text: "after the end"})
		golden.Check(t, name, visible(b.Bytes()))
		if o.GitLab {
			sections(t, b.String())
		}
	}
}

// A run that ends early leaves no section open.
func TestGitLabClosesSections(t *testing.T) {
	all := story()
	for n := range all {
		var b bytes.Buffer
		r := Plain(&b, PlainOptions{GitLab: true})
		for _, e := range all[:n] {
			r.Event(e)
		}
		r.Close()
		sections(t, b.String())
	}
}

// sections checks that no section overlaps another, is closed twice or stays open.
func sections(t *testing.T, text string) {
	t.Helper()
	open := ""
	used := map[string]bool{}
	for line := range strings.Lines(text) {
		head, _, ok := strings.Cut(line, "\r\x1b[0K")
		if !ok {
			continue
		}
		f := strings.SplitN(head, ":", 3)
		name, _, _ := strings.Cut(f[2], "[")
		switch f[0] {
		case "section_start":
			if open != "" || used[name] {
				t.Fatalf("section %s begins inside %q, or again:\n%s", name, open, visible([]byte(text)))
			}
			open, used[name] = name, true
		case "section_end":
			if open != name {
				t.Fatalf("section %s ends inside %q:\n%s", name, open, visible([]byte(text)))
			}
			open = ""
		}
	}
	if open != "" {
		t.Fatalf("section %s stays open:\n%s", open, visible([]byte(text)))
	}
}

func visible(b []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\x1b"), []byte("<ESC>")), []byte("\r"), []byte("<CR>"))
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	r := JSON(&b)
	sink := Sink(r, func() time.Time { return began })
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { sink(pipelines.Event{Kind: pipelines.EventLog, Text: strings.Repeat("x", 5000)}) })
	}
	wg.Wait()
	r.Close()
	sink(pipelines.Event{Text: "after the end"})
	n := 0
	for line := range strings.Lines(b.String()) {
		var e pipelines.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if !e.Time.Equal(began) || len(e.Text) != 5000 {
			t.Errorf("event came out as %+v", e)
		}
		n++
	}
	if n != 20 {
		t.Errorf("%d lines, want 20", n)
	}
}

// TestTTY draws after every event and compares what a terminal shows then.
func TestTTY(t *testing.T) {
	for _, c := range []struct {
		name          string
		width, height int
		o             TTYOptions
	}{
		{"tty-wide.txt", 100, 24, TTYOptions{Unicode: true}},
		{"tty-narrow.txt", 44, 6, TTYOptions{}},
	} {
		scr := &screen{width: c.width, height: 200}
		now := began
		c.o.Now, c.o.Every = func() time.Time { return now }, -1
		c.o.Size = func() (int, int) { return c.width, c.height }
		r := TTY(scr, c.o).(*tty)
		var got bytes.Buffer
		for _, e := range story() {
			r.Event(e)
			now = e.Time
			r.draw()
			fmt.Fprintf(&got, "--- %s %s %s\n%s", e.Kind, e.Job, e.Step, scr)
		}
		r.Close()
		r.Event(pipelines.Event{Text: "after the end"})
		r.draw()
		fmt.Fprintf(&got, "--- end\n%s", scr)
		golden.Check(t, c.name, got.Bytes())
		for _, line := range r.shown {
			t.Errorf("%s: %q is left on the screen", c.name, line)
		}
	}
}

// The window becomes narrower and wider: no line of an old frame is left over.
func TestTTYResize(t *testing.T) {
	scr := &screen{width: 100, height: 200}
	now := began
	r := TTY(scr, TTYOptions{Now: func() time.Time { return now }, Every: -1, Unicode: true,
		Size: func() (int, int) { return scr.width, 24 }}).(*tty)
	for _, e := range story()[:6] {
		r.Event(e)
	}
	r.draw()
	for i, w := range []int{60, 30, 21, 90, 40} {
		scr.resize(w)
		now = now.Add(time.Second)
		r.draw()
		if n := strings.Count(scr.String(), "debian12 for linux/"); n > 2 && w >= 40 {
			t.Errorf("width %d (step %d): %d job lines, want 2:\n%s", w, i, n, scr)
		}
		for _, line := range r.shown {
			if columns(line) >= w {
				t.Errorf("width %d: line of %d columns", w, columns(line))
			}
		}
	}
	r.Close()
	if strings.Contains(scr.String(), "download packages ") {
		t.Errorf("the live part is left:\n%s", scr)
	}
}

// Nothing is written when nothing changed, and a frame is one write.
func TestTTYWritesOnlyChanges(t *testing.T) {
	w := &counter{}
	now := began
	r := TTY(w, TTYOptions{Now: func() time.Time { return now }, Every: -1, Size: func() (int, int) { return 80, 24 }}).(*tty)
	r.Event(story()[2])
	r.draw()
	r.draw()
	now = now.Add(20 * time.Millisecond)
	r.draw()
	if w.n != 1 {
		t.Errorf("%d writes for one change", w.n)
	}
	now = now.Add(100 * time.Millisecond)
	r.draw()
	if w.n != 2 {
		t.Errorf("%d writes after a tenth of a second, want 2", w.n)
	}
}

type counter struct{ n int }

func (c *counter) Write(p []byte) (int, error) { c.n++; return len(p), nil }

func TestTTYLoopEnds(t *testing.T) {
	var mu sync.Mutex
	var b bytes.Buffer
	r := TTY(writerFunc(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return b.Write(p) }),
		TTYOptions{Now: time.Now, Every: time.Millisecond, Size: func() (int, int) { return 80, 24 }})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, e := range story() {
				r.Event(e)
			}
		})
	}
	wg.Wait()
	r.Close()
	r.Close()
	if !strings.Contains(b.String(), "step failed: exit status 1") {
		t.Error("the last lines are missing")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWords(t *testing.T) {
	for in, want := range map[string]string{"a\tb": "a  b", "\x1b]0;title\x07x": "x", "\x1b]8;;u\x1b\\y": "y", "1\r2\r\n": "2", "a\x00b": "ab", "\x1b": "",
		"bad\xff": "bad\ufffd"} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 28_400_000: "28.4 MB", 5e12: "5.0 TB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0.0s", 340 * time.Millisecond: "0.3s", 59940 * time.Millisecond: "59.9s",
		59960 * time.Millisecond: "1m00s", 185 * time.Second: "3m05s", 3725 * time.Second: "1h02m"} {
		if got := Seconds(d); got != want {
			t.Errorf("Seconds(%v) = %q, want %q", d, got, want)
		}
	}
	if got := cut("日本語テキスト", 7, "…"); got != "日本語…" {
		t.Errorf("cut = %q", got)
	}
}
