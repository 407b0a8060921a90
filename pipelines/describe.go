package pipelines

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// describe names an operation in errors: "run apt-get update".
func describe(op Op) string {
	if op == nil {
		return "nothing"
	}
	return strings.TrimSpace(op.kind() + " " + detail(op))
}

// detail is the telling part of an operation, on one line.
func detail(op Op) string {
	switch o := op.(type) {
	case Pull:
		return o.Ref
	case Layout:
		return or(o.Digest, o.Path)
	case Local:
		return or(o.Path, o.Digest)
	case Bootstrap:
		if len(o.Sources) == 0 {
			return o.Method
		}
		return strings.Join(slices.DeleteFunc([]string{o.Method, o.Sources[0].Suite, o.Variant}, func(s string) bool { return s == "" }), " ")
	case Run:
		if o.Name != "" {
			return o.Name
		}
		return oneLine(or(o.Shell, strings.Join(o.Args, " ")))
	case Copy:
		return strings.Join(o.Src, " ") + " " + o.Dst
	case File:
		return o.Path
	case Remove:
		return strings.Join(o.Paths, " ")
	case Configure:
		return strings.Join(configured(o), " ")
	}
	return ""
}

func configured(o Configure) []string {
	var out []string
	add := func(is bool, name string) {
		if is {
			out = append(out, name)
		}
	}
	add(len(o.Env) > 0, "env")
	add(len(o.Labels) > 0, "labels")
	add(len(o.Entrypoint) > 0, "entrypoint")
	add(len(o.Cmd) > 0, "cmd")
	add(o.User != "", "user")
	add(o.WorkingDir != "", "workdir")
	add(o.StopSignal != "", "stopsignal")
	add(len(o.Volumes) > 0, "volumes")
	add(len(o.ExposedPorts) > 0, "ports")
	add(o.Author != "", "author")
	return out
}

// oneLine is the first line that says something, cut at 72 characters.
func oneLine(s string) string {
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || line == "set -eu" || line == "set -e" {
			continue
		}
		if r := []rune(line); len(r) > 72 {
			line = string(r[:71]) + "…"
		}
		return line
	}
	return ""
}

func stepName(op Op) string { return describe(op) }

// Print writes the graph for a person: one line a node, with its number, what it
// does, what it stands on and the author's line.
func (g Graph) Print(w io.Writer) error {
	number := map[string]int{}
	for i, n := range g.Nodes {
		number[n.ID] = i + 1
		line := fmt.Sprintf("%3d  %s", i+1, n.Name)
		var on []string
		for k, in := range n.Inputs {
			if k > 0 || number[in] != i {
				on = append(on, fmt.Sprintf("%d", number[in]))
			}
		}
		if len(on) > 0 {
			line += "  ← " + strings.Join(on, ", ")
		}
		if n.Platform != g.Platform {
			line += "  [" + n.Platform.String() + "]"
		}
		if s := n.Where.String(); s != "" {
			line += "  (" + s + ")"
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// Dot writes the graph in Graphviz's language.
func (g Graph) Dot(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n\trankdir=BT;\n\tnode [shape=box];\n", g.Platform)
	for i, n := range g.Nodes {
		fmt.Fprintf(&b, "\tn%d [label=%q];\n", i, n.Name)
		for _, in := range n.Inputs {
			for j, m := range g.Nodes[:i] {
				if m.ID == in {
					fmt.Fprintf(&b, "\tn%d -> n%d;\n", i, j)
				}
			}
		}
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}
