package rpmrepotest

import (
	"os"
	"strings"
	"testing"
)

// Documented reads the table below a heading of docs/site.md: a fault and what a
// package manager makes of it. It is called from a package two directories below the
// module.
func Documented(t testing.TB, heading string, columns int) map[string][]string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/site.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(doc), "## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/site.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string][]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != columns || strings.HasPrefix(line, "|---") || strings.Contains(line, "| fault") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[cells[0]] = cells[1:]
	}
	return rows
}
