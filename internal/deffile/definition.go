package deffile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Definition is a definition file: its stages, of which the last is the image.
type Definition struct {
	// Comments stand at the top, one line each.
	Comments []string
	Stages   []Stage
	// Config is how the image is configured, also what the file cannot say. It is not
	// written.
	Config pipelines.Configure
}

// Stage is one root filesystem that is made.
type Stage struct {
	Comments []string
	// Header begins with Bootstrap. A stage that others take files from has a Stage.
	Header []Field
	// Arguments are defaults of {{ NAME }}, which --build-arg replaces.
	Arguments []Field
	// Files are taken from stages before this one, before Setup runs.
	Files []Files
	// Setup runs on the host, Post in the image, as /bin/sh -ex. Each string is one
	// or several whole commands.
	Setup, Post []string
	// Environment is run before everything the image starts.
	Environment []string
	Runscript   []string
	Test        []string
	Labels      []Field
	// Help is plain text.
	Help string
}

// Field is a line of a header, an argument or a label.
type Field struct{ Key, Value string }

// Files are copied from the stage From.
type Files struct {
	From  string
	Pairs [][2]string // source, destination
}

// maxSection bounds one section, in bytes. Apptainer reads sections with a bufio.Scanner,
// whose bound is 64 KiB.
const maxSection = 60 << 10

// ErrText: something cannot be written in a definition file.
var ErrText = errors.New("cannot be written in a definition file")

var (
	sectionLine   = regexp.MustCompile(`(?m)^[\t\n\v\f\r ]*%`)
	bootstrapLine = regexp.MustCompile(`(?mi)^bootstrap:`)
	variable      = regexp.MustCompile(`{{\s*\w+\s*}}`)
)

// Text is the file. The error matches [ErrText].
func (d Definition) Text() (string, error) {
	w := &writer{}
	for _, c := range d.Comments {
		w.comment(c)
	}
	for i, s := range d.Stages {
		if i > 0 || len(d.Comments) > 0 {
			w.line("")
		}
		if err := w.stage(s); err != nil {
			return "", err
		}
	}
	return w.b.String(), nil
}

type writer struct{ b strings.Builder }

func (w *writer) line(s string) { w.b.WriteString(s + "\n") }

// comment writes text that may hold line ends. Apptainer looks for variables there too.
func (w *writer) comment(s string) {
	for line := range strings.Lines(strings.ReplaceAll(s, "{{", "{ {")) {
		w.line(strings.TrimRight("# "+strings.TrimRight(line, "\r\n"), " "))
	}
}

func (w *writer) stage(s Stage) error {
	for i, f := range s.Header {
		if strings.ContainsAny(f.Value, "\r\n#\\") || f.Value == "" {
			return fmt.Errorf("%s %q: %w", f.Key, f.Value, ErrText)
		}
		w.line(f.Key + ": " + f.Value)
		if i == 0 { // what stands before it belongs to the stage above
			for _, c := range s.Comments {
				w.comment(c)
			}
		}
	}
	if len(s.Arguments) > 0 {
		w.line("\n%arguments")
		for _, f := range s.Arguments {
			if strings.ContainsAny(f.Value, "\r\n {}") {
				return fmt.Errorf("argument %s %q: %w", f.Key, f.Value, ErrText)
			}
			w.line("    " + f.Key + "=" + f.Value)
		}
	}
	for _, f := range s.Files {
		w.line("\n%files from " + f.From)
		for _, p := range f.Pairs {
			w.line("    " + p[0] + " " + p[1])
		}
	}
	for _, x := range []struct {
		name     string
		commands []string
	}{{"setup", s.Setup}, {"post", s.Post}, {"environment", s.Environment}, {"runscript", s.Runscript}, {"test", s.Test}} {
		if err := w.script(x.name, x.commands); err != nil {
			return fmt.Errorf("%%%s: %w", x.name, err)
		}
	}
	if len(s.Labels) > 0 {
		w.line("\n%labels")
		for _, f := range s.Labels {
			if !label(f) {
				return fmt.Errorf("label %s: %w", f.Key, ErrText)
			}
			w.line("    " + f.Key + " " + f.Value)
		}
	}
	if s.Help != "" {
		w.line("\n%help")
		w.b.WriteString(indent(s.Help))
	}
	return nil
}

// label says whether a label can be written.
func label(f Field) bool {
	return f.Key != "" && !strings.ContainsAny(f.Key, " \t\r\n") && !strings.ContainsAny(f.Key[:1], "#%") &&
		!strings.ContainsAny(f.Value, "\r\n") && f.Value == strings.TrimSpace(f.Value) && !variable.MatchString(f.Key+" "+f.Value)
}

// indent keeps text from being read as sections and stages.
func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(s, "{{", "{ {")) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(strings.TrimSpace(line), "%") {
			line = "·" + line
		}
		b.WriteString(strings.TrimRight("    "+line, " ") + "\n")
	}
	return b.String()
}

// script writes commands, in as many sections as their size needs.
func (w *writer) script(name string, commands []string) error {
	size := maxSection
	for _, c := range commands {
		c = strings.TrimRight(c, "\n") + "\n"
		switch {
		case len(c) > maxSection:
			return fmt.Errorf("a command of %d bytes %w: more than %d", len(c), ErrText, maxSection)
		case sectionLine.MatchString(c), bootstrapLine.MatchString(c), variable.MatchString(c), strings.ContainsAny(c, "\r\x00"):
			return fmt.Errorf("%.60q %w", c, ErrText)
		}
		if size+len(c) > maxSection {
			w.line("\n%" + name)
			size = 0
		}
		size += len(c)
		w.b.WriteString(c)
	}
	return nil
}
