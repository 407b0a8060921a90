package progress

import (
	"strings"
)

// screen is a terminal: it follows printable text, CR, LF, cursor up, erase to the
// end of the line and of the screen, and wraps at its width.
type screen struct {
	width, height int
	rows          [][]rune
	x, y          int
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for len(text) > 0 {
		if text[0] == 0x1b {
			n := escape(text)
			s.control(text[:n])
			text = text[n:]
			continue
		}
		r := rune0(text)
		text = text[len(string(r)):]
		switch r {
		case '\r':
			s.x = 0
		case '\n':
			s.y++
		default:
			s.put(r)
		}
	}
	return len(p), nil
}

func rune0(s string) rune {
	for _, r := range s {
		return r
	}
	return 0
}

func (s *screen) put(r rune) {
	if s.x >= s.width {
		s.x, s.y = 0, s.y+1
	}
	for len(s.rows) <= s.y {
		s.rows = append(s.rows, nil)
	}
	for len(s.rows[s.y]) <= s.x {
		s.rows[s.y] = append(s.rows[s.y], ' ')
	}
	s.rows[s.y][s.x] = r
	s.x++
}

func (s *screen) control(seq string) {
	arg := 0
	for _, c := range seq {
		if c >= '0' && c <= '9' {
			arg = arg*10 + int(c-'0')
		}
	}
	switch seq[len(seq)-1] {
	case 'A':
		s.y = max(0, s.y-max(1, arg))
	case 'K':
		if s.y < len(s.rows) && s.x < len(s.rows[s.y]) {
			s.rows[s.y] = s.rows[s.y][:s.x]
		}
	case 'J':
		if s.y < len(s.rows) {
			s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
			s.rows = s.rows[:s.y+1]
		}
	}
}

// resize re-wraps every line, as terminals do that reflow.
func (s *screen) resize(width int) {
	var out [][]rune
	cursor := 0
	for i, row := range s.rows {
		if i == s.y {
			cursor = len(out)
		}
		row = []rune(strings.TrimRight(string(row), " "))
		for len(row) > width {
			out = append(out, row[:width:width])
			row = row[width:]
		}
		out = append(out, row)
	}
	if s.y >= len(s.rows) {
		cursor = len(out) + s.y - len(s.rows)
	}
	s.width, s.rows, s.y = width, out, cursor
}

func (s *screen) String() string {
	var b strings.Builder
	for _, r := range s.rows {
		b.WriteString(strings.TrimRight(string(r), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
