package lint

import (
	"path"
	"slices"
	"strings"
)

// command is one simple command of a shell script: its words without quotes,
// leading assignments and what only introduces it (if, then, sudo, env).
type command struct {
	words []string
	// piped: its output goes into the next command.
	piped bool
	// env are the assignments before it.
	env map[string]string
}

// name is the program without its directory.
func (c command) name() string {
	if len(c.words) == 0 {
		return ""
	}
	return path.Base(c.words[0])
}

// has says whether one of the words is there.
func (c command) has(words ...string) bool {
	return slices.ContainsFunc(c.words, func(w string) bool { return slices.Contains(words, w) })
}

// verb is the first word after the program that is no option, and args are those
// after it.
func (c command) verb() (string, []string) {
	verb := ""
	var args []string
	for i := 1; i < len(c.words); i++ {
		w := c.words[i]
		switch {
		case strings.HasPrefix(w, "-"):
			if slices.Contains([]string{"-o", "-c", "-t", "--root", "--installroot", "-p", "-X"}, w) {
				i++ // the option's value
			}
		case verb == "" && strings.HasPrefix(w, "$"): // a variable that holds options
		case verb == "":
			verb = w
		default:
			args = append(args, w)
		}
	}
	return verb, args
}

// introducers stand before a command without changing what it does here.
var introducers = []string{"if", "then", "elif", "else", "while", "until", "do", "!", "{", "(", "exec", "sudo", "env", "time", "command", "nice", "nohup"}

// commands takes a script apart. It knows quotes, continued lines, comments and
// here-documents; it does not expand anything and never fails: what it cannot read
// is a word.
func commands(script string) []command {
	var out []command
	var cur []string
	var word strings.Builder
	var inWord bool
	end := func() {
		if inWord {
			cur = append(cur, word.String())
			word.Reset()
			inWord = false
		}
	}
	finish := func(piped bool) {
		end()
		if c := simple(cur, piped); len(c.words) > 0 || len(c.env) > 0 {
			out = append(out, c)
		}
		cur = nil
	}
	s := script
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; ch {
		case '\\':
			if i+1 < len(s) {
				i++
				if s[i] != '\n' {
					word.WriteByte(s[i])
					inWord = true
				} else {
					end()
				}
			}
		case '\'', '"':
			inWord = true
			for i++; i < len(s) && s[i] != ch; i++ {
				if ch == '"' && s[i] == '\\' && i+1 < len(s) {
					i++
				}
				word.WriteByte(s[i])
			}
		case '#':
			if inWord {
				word.WriteByte(ch)
				continue
			}
			for i+1 < len(s) && s[i+1] != '\n' {
				i++
			}
		case ' ', '\t':
			end()
		case '\n', ';', '&':
			if ch == '&' && (i > 0 && s[i-1] == '>' || i+1 < len(s) && s[i+1] == '>') {
				word.WriteByte(ch) // 2>&1, &>
				inWord = true
				continue
			}
			finish(false)
			if ch == '\n' {
				i += hereDocument(out, s[i+1:])
			}
		case '|':
			if i+1 < len(s) && s[i+1] == '|' {
				i++
				finish(false)
			} else {
				finish(true)
			}
		case '(', ')', '`':
			if ch == '(' && inWord && strings.HasSuffix(word.String(), "$") {
				word.Reset()
				inWord = false
			}
			finish(false)
		default:
			word.WriteByte(ch)
			inWord = true
		}
	}
	finish(false)
	return out
}

// hereDocument gives the length of the here-document that the last command opens.
func hereDocument(out []command, rest string) int {
	if len(out) == 0 {
		return 0
	}
	words := out[len(out)-1].words
	for i, w := range words {
		_, mark, ok := strings.Cut(w, "<<")
		if !ok || strings.HasPrefix(mark, "<") {
			continue
		}
		if mark = strings.TrimPrefix(mark, "-"); mark == "" && i+1 < len(words) {
			mark = words[i+1]
		}
		if mark == "" {
			return 0
		}
		n := 0
		for line := range strings.Lines(rest) {
			n += len(line)
			if strings.TrimSpace(line) == mark {
				return n
			}
		}
		return len(rest)
	}
	return 0
}

// simple drops what stands before a command.
func simple(words []string, piped bool) command {
	c := command{piped: piped}
	for len(words) > 0 {
		w := words[0]
		if k, v, ok := strings.Cut(w, "="); ok && k != "" && strings.Trim(k, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") == "" {
			if c.env == nil {
				c.env = map[string]string{}
			}
			c.env[k] = v
			words = words[1:]
			continue
		}
		if !slices.Contains(introducers, w) {
			break
		}
		words = words[1:]
		for w == "sudo" && len(words) > 0 && strings.HasPrefix(words[0], "-") {
			words = words[1:]
		}
	}
	c.words = words
	return c
}
