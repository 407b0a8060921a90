package progress

import (
	"fmt"
	"strings"
	"time"
)

// Colours, as SGR parameters.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
	bold   = "1"
)

func (t *tty) paint(color, s string) string {
	if !t.o.Color || color == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// mark gives the sign of a line: v done, x failed, - cached, ! warning, i note.
func (t *tty) mark(kind string) string {
	if !t.o.Unicode {
		return map[string]string{"v": "+", "x": "x", "-": "=", "!": "!", "i": "."}[kind]
	}
	return map[string]string{"v": "✓", "x": "✗", "-": "•", "!": "!", "i": "·"}[kind]
}

func (t *tty) ellipsis() string {
	if t.o.Unicode {
		return "…"
	}
	return ".."
}

// frame lays out what runs now in at most width columns and height lines. With
// room, a job has a line and each of its steps one below; without, one line a job,
// and a count of the rest.
func (t *tty) frame(now time.Time, width, height int) []string {
	full := 0
	for _, j := range t.state.jobs {
		full += 1 + len(j.steps)
	}
	var out []string
	for i, j := range t.state.jobs {
		if full > height {
			left := len(t.state.jobs) - i
			if len(out) == height-1 && left > 1 {
				return append(out, t.paint(dim, cut(fmt.Sprintf("  and %d more", left), width, t.ellipsis())))
			}
			out = append(out, t.brief(j, now, width))
			continue
		}
		out = append(out, t.heading(j, now, width))
		for _, st := range j.steps {
			out = append(out, t.stepLine(st, now, width))
		}
	}
	return out
}

func (t *tty) heading(j *job, now time.Time, width int) string {
	took := Seconds(now.Sub(j.start).Truncate(100 * time.Millisecond))
	name := cut(j.name, width-len(took)-2, t.ellipsis())
	return t.paint(bold, pad(name, width-len(took)-1)) + " " + took
}

// brief is a job on one line, with its newest step.
func (t *tty) brief(j *job, now time.Time, width int) string {
	s := j.id
	if n := len(j.steps); n > 0 {
		st := j.steps[n-1]
		s += "  " + st.name
		if st.measured {
			s += "  " + strings.TrimSpace(amount(st.amount))
		}
	}
	took := Seconds(now.Sub(j.start).Truncate(100 * time.Millisecond))
	return pad(cut(s, width-len(took)-2, t.ellipsis()), width-len(took)-1) + " " + took
}

// stepLine is "  name  bar percent amount  last line of log", shortened from the
// right: the log gives way first, then the bar, then the name.
func (t *tty) stepLine(st *step, now time.Time, width int) string {
	const indent = "  "
	room := width - len(indent)
	name := cut(st.name, max(10, room*2/5), t.ellipsis())
	column := max(columns(name), min(32, room*2/5))
	var middle string
	if st.measured {
		middle = amount(st.amount)
		if bar := min(24, room-column-columns(middle)-3); st.amount.Total > 0 && bar >= 6 {
			middle = t.bar(percent(st.amount.Current, st.amount.Total), bar) + " " + middle
		}
	} else {
		middle = Seconds(now.Sub(st.start).Truncate(100 * time.Millisecond))
	}
	line := indent + pad(name, column) + "  " + middle
	if columns(line) > width {
		return cut(line, width, t.ellipsis())
	}
	if left := width - columns(line) - 2; st.log != "" && left >= 10 {
		return line + "  " + t.paint(dim, cut(st.log, left, t.ellipsis()))
	}
	return line
}

func (t *tty) bar(percent int64, width int) string {
	if t.o.Unicode {
		full := int(percent) * width / 100
		return strings.Repeat("█", full) + strings.Repeat("░", width-full)
	}
	full := int(percent) * (width - 2) / 100
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-2-full) + "]"
}
