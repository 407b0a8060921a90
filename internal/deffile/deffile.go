package deffile

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Options of a lowering.
type Options struct {
	// Mirrors gives the base URLs of a package repository, preferred first; the first
	// one is used, as a default of %arguments. It may be nil when every source of a
	// Bootstrap has its own.
	Mirrors func(repository string) []string
	// Archives are OCI archives (tar files of one image) to use in place of Layout
	// nodes, by node ID.
	Archives map[string]string
	// Help is the text of %help.
	Help string
	// Tests become %test: of files, packages and commands, as far as a shell can tell.
	Tests []pipelines.Test
}

// Definition is a definition file as a value.
type Definition struct {
	// Platform it is for; apptainer build makes the one of the machine it runs on.
	Platform pipelines.Platform
	Stages   []Stage
}

// Stage is one stage of a definition file.
type Stage struct {
	// Name is empty for a definition of one stage.
	Name string
	// Header without Stage, in order: Bootstrap first.
	Header []Pair
	// Arguments are the defaults of {{ name }} in this stage.
	Arguments []Pair
	// Setup runs on the host, Post in the image.
	Setup, Post script
	// Files are copied from earlier stages before Post.
	Files []Copied
	// Environment and Labels are of the image.
	Environment, Labels map[string]string
	// Entrypoint and Cmd become %runscript.
	Entrypoint, Cmd []string
	// Test and Help are the sections' text.
	Test, Help string
}

// Pair is a name with a value.
type Pair struct{ Name, Value string }

// Copied is a line of %files from.
type Copied struct{ From, Path string }

// Lower makes a definition of a graph. Errors: [builders.UnsupportedError].
func Lower(g pipelines.Graph, o Options) (Definition, error) {
	d := Definition{Platform: g.Platform}
	l := lowering{g: g, o: o, copies: map[string][]gathered{}}
	// Those that files are taken from come before the result, in the graph's order.
	needed := map[string]bool{}
	for _, n := range l.chain(g.Result()) {
		l.need(n, needed)
	}
	for _, n := range g.Nodes {
		if needed[n.ID] && n.ID != g.ID() {
			l.names = append(l.names, Pair{fmt.Sprintf("stage%d", len(l.names)+1), n.ID})
		}
	}
	if len(l.names) > 0 {
		l.names = append(l.names, Pair{"final", g.ID()})
	} else {
		l.names = []Pair{{"", g.ID()}}
	}
	// The result first: it tells what its sources have to hand out.
	stages := make([]Stage, len(l.names))
	for i := len(l.names) - 1; i >= 0; i-- {
		n, _ := g.Node(l.names[i].Value)
		s, err := l.stage(l.names[i].Name, n)
		if err != nil {
			return Definition{}, err
		}
		stages[i] = s
	}
	last := &stages[len(stages)-1]
	last.Help = o.Help
	if shell := checks(o.Tests); shell != "" {
		last.Test = shell
	}
	for i, s := range stages {
		n, _ := g.Node(l.names[i].Value)
		if err := s.check(n); err != nil {
			return Definition{}, err
		}
	}
	d.Stages = stages
	return d, nil
}

// lowering is one run of [Lower].
type lowering struct {
	g      pipelines.Graph
	o      Options
	names  []Pair                // stages and the nodes that end them
	copies map[string][]gathered // what stages hand out, by node
	count  int
}

// chain is a node with all it stands on, the source first.
func (l *lowering) chain(n pipelines.Node) []pipelines.Node {
	out := []pipelines.Node{n}
	for len(n.Inputs) > 0 {
		n, _ = l.g.Node(n.Inputs[0])
		out = append(out, n)
	}
	slices.Reverse(out)
	return out
}

// need marks the images that a step copies from; directories of the host are no stages.
func (l *lowering) need(n pipelines.Node, needed map[string]bool) {
	if _, ok := n.Op.(pipelines.Copy); !ok {
		return
	}
	from, _ := l.g.Node(n.Inputs[1])
	if _, ok := from.Op.(pipelines.Local); ok || needed[from.ID] {
		return
	}
	needed[from.ID] = true
	for _, m := range l.chain(from) {
		l.need(m, needed)
	}
}

// name of the stage that a node ends.
func (l *lowering) name(id string) string {
	i := slices.IndexFunc(l.names, func(p Pair) bool { return p.Value == id })
	return l.names[i].Name
}

// unsupported is the error for what a definition cannot say.
func unsupported(n pipelines.Node, fix, format string, args ...any) error {
	return &builders.UnsupportedError{Builder: "apptainer", Node: n, What: "a definition file " + fmt.Sprintf(format, args...), Fix: fix}
}

// special is what Apptainer would take for its own syntax anywhere in a file, and what
// it does not hand on as it is.
var special = regexp.MustCompile(`(?mi)^\s*%|^bootstrap:|\{\{\s*\w+\s*\}\}|\r|\x00`)

// check refuses values that no section can hold. In Setup and Post they are encoded.
func (s Stage) check(n pipelines.Node) error {
	var text strings.Builder
	for _, section := range []func(*file){s.environment, s.runscript, s.labels} {
		f := file{}
		section(&f)
		text.WriteString(f.body.String())
	}
	if at := special.FindString(text.String()); at != "" {
		return unsupported(n, "change the value", "cannot have %q in a variable, label or command", at)
	}
	for k, v := range s.Labels {
		if strings.ContainsAny(k, " \t\n#") || strings.ContainsAny(v, "\n") {
			return unsupported(n, "write the label on one line", "cannot have the label %q", k)
		}
	}
	return nil
}

// Write writes the definition.
func (d Definition) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Apptainer definition file for %s.\n", d.Platform)
	for _, s := range d.Stages {
		b.WriteString("\n")
		s.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// file is the text of one section.
type file struct{ body strings.Builder }

func (f *file) line(format string, args ...any) { fmt.Fprintf(&f.body, format+"\n", args...) }

// most is how long a section gets before it goes on under a second heading of the same
// name; one line can be longer than what is left of 64 KiB only if it has more than half.
const most = 24 << 10

func section(b *strings.Builder, heading, body string) {
	if body == "" {
		return
	}
	fmt.Fprintf(b, "\n%s\n", heading)
	size := 0
	for line := range strings.Lines(body) {
		if size > 0 && size+len(line) > most {
			fmt.Fprintf(b, "%s\n", heading)
			size = 0
		}
		b.WriteString(line)
		size += len(line)
	}
	if !strings.HasSuffix(body, "\n") {
		b.WriteString("\n")
	}
}

func (s Stage) write(b *strings.Builder) {
	for i, h := range s.Header {
		fmt.Fprintf(b, "%s: %s\n", h.Name, h.Value)
		if i == 0 && s.Name != "" {
			fmt.Fprintf(b, "Stage: %s\n", s.Name)
		}
	}
	of := func(write func(*file)) string {
		f := file{}
		write(&f)
		return f.body.String()
	}
	section(b, "%arguments", of(func(f *file) {
		for _, a := range s.Arguments {
			f.line("%s=%s", a.Name, a.Value)
		}
	}))
	section(b, "%help", s.Help)
	section(b, "%labels", of(s.labels))
	section(b, "%environment", of(s.environment))
	section(b, "%setup", s.Setup.b.String())
	for _, c := range s.Files {
		section(b, "%files from "+c.From, c.Path+" "+c.Path)
	}
	section(b, "%post", s.Post.b.String())
	section(b, "%runscript", of(s.runscript))
	section(b, "%test", s.Test)
}

func (s Stage) labels(f *file) {
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		f.line("%s %s", k, s.Labels[k])
	}
}

func (s Stage) environment(f *file) {
	for _, k := range slices.Sorted(maps.Keys(s.Environment)) {
		f.line("export %s=%s", k, quote(s.Environment[k]))
	}
}

// runscript is what docker run does: arguments stand in for Cmd.
func (s Stage) runscript(f *file) {
	if len(s.Entrypoint)+len(s.Cmd) == 0 {
		return
	}
	if len(s.Cmd) > 0 {
		f.line("[ $# -gt 0 ] || set -- %s", words(s.Cmd))
	}
	if len(s.Entrypoint) > 0 {
		f.line(`exec %s "$@"`, words(s.Entrypoint))
	} else {
		f.line(`exec "$@"`)
	}
}

// quote for /bin/sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func words(list []string) string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = quote(w)
	}
	return strings.Join(out, " ")
}
