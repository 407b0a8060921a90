//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// commands gives the lines of a document's sh blocks that begin with a word,
// continued lines joined, comments off.
func commands(t *testing.T, doc, word string) []string {
	t.Helper()
	b, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	in := false
	for line := range strings.Lines(strings.ReplaceAll(string(b), "\\\n", " ")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			in = !in && (line == "```sh" || line == "```")
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		line, _, _ = strings.Cut(line, " > ")
		for part := range strings.SplitSeq(line, "&&") {
			if f := strings.Fields(part); in && len(f) > 1 && f[0] == word {
				out = append(out, strings.Join(f, " "))
			}
		}
	}
	return out
}

// Every command in the documents is one the program takes; those that build
// nothing and ask nobody are run.
func TestDocumentedCommands(t *testing.T) {
	w := newWorld(t, nil)
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	example := filepath.Join(w.dir, "site.toml")
	if err := copyFile("../../examples/site.toml", example); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, doc := range append(docs, "../../README.md", "../../examples/custom/README.md") {
		for _, line := range commands(t, doc, "cfbuild") {
			if strings.ContainsAny(line, "…|$") {
				continue // a synopsis
			}
			n++
			args := strings.Fields(line)[1:]
			if _, stderr, code := w.try(append(args[:len(args):len(args)], "--help")...); code != 0 {
				t.Errorf("%s: %q is not taken: exit code %d\n%s", doc, line, code, stderr)
			}
			switch args[0] {
			case "list", "show", "plan", "version", "cache", "completion":
				if _, stderr, code := w.try(args...); code != 0 {
					t.Errorf("%s: %q: exit code %d\n%s", doc, line, code, stderr)
				}
			}
		}
	}
	if n < 8 {
		t.Errorf("only %d commands found in the documents", n)
	}
}

// The Makefile has the targets that the README and CI name.
func TestDocumentedTargets(t *testing.T) {
	b, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, doc := range []string{"../../README.md", "../../CONTRIBUTING.md"} {
		for _, line := range commands(t, doc, "make") {
			n++
			if target := strings.Fields(line)[1]; !strings.Contains(string(b), "\n"+target+":") {
				t.Errorf("%s: %q: the Makefile has no such target", doc, line)
			}
		}
	}
	if n < 2 {
		t.Errorf("only %d make commands found", n)
	}
}
