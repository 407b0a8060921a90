package rpm_test

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/recipes/rpm"
)

// survives reads the table of docs/site.md about dnf: a fault, then what happens with
// a pair when the preferred mirror has it, with a list, and with a pair when another
// one has it.
func survives(t *testing.T, heading string, columns int) map[string][]string {
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

// The real dnf, with the files that an image gets, meets every fault that
// docs/site.md lists, and does what it says there.
func TestDNFSurvives(t *testing.T) {
	w := newWorld(t)
	rows := survives(t, "What dnf survives", 4)
	if len(rows) < 14 {
		t.Fatalf("docs/site.md lists %d faults", len(rows))
	}
	pair := rpm.Options{Distribution: rpm.CentOS, Release: 9, EPEL: rpm.EPELOff, Languages: common.NoIndexes}
	list := pair
	list.Fallback = rpm.List
	unsigned := list
	unsigned.NoMetadataSignature = true

	type trial struct {
		name    string
		o       rpm.Options
		mirrors []string
		want    string
		got     string
		said    string
	}
	var trials []*trial
	for fault, want := range rows {
		bad := func(address string) string { return w.mirror(t, address, fault, nil) }
		good := func(address string) string { return w.mirror(t, address, "", nil) }
		trials = append(trials,
			&trial{name: fault + ", in pairs", o: pair, mirrors: []string{bad("127.0.0.1"), good("127.0.0.2")}, want: want[0]},
			&trial{name: fault + ", in a list", o: list, mirrors: []string{bad("127.0.0.1"), good("127.0.0.2")}, want: want[1]},
			&trial{name: fault + ", other mirror", o: pair, mirrors: []string{good("127.0.0.1"), bad("127.0.0.2")}, want: want[2]})
	}
	var first, second atomic.Bool
	trials = append(trials,
		&trial{name: "both good", o: pair, mirrors: []string{w.mirror(t, "127.0.0.1", "", &first), w.mirror(t, "127.0.0.2", "", &second)}, want: "newest"},
		// All down is an error, never nothing to do.
		&trial{name: "all down", o: pair, mirrors: []string{"http://127.0.0.1:9", "http://127.0.0.2:9"}, want: "fails"},
		// Metadata that a mirror made itself are not signed; the option takes them.
		&trial{name: "unsigned metadata as an option", o: unsigned, mirrors: []string{w.mirror(t, "127.0.0.1", "no signature", nil), "http://127.0.0.1:9"}, want: "newest"})

	// Those that wait for a mirror do so side by side; the others share the processors.
	var all sync.WaitGroup
	working := make(chan struct{}, runtime.NumCPU())
	for _, x := range trials {
		dir := t.TempDir()
		all.Go(func() {
			if !strings.HasPrefix(x.name, "hanging") && !strings.HasPrefix(x.name, "slow") {
				working <- struct{}{}
				defer func() { <-working }()
			}
			x.got, x.said = w.dnf(dir, x.o, x.mirrors...)
		})
	}
	all.Wait()
	for _, x := range trials {
		if x.got != x.want {
			t.Errorf("%s: dnf install: %s, want %s\n%s", x.name, x.got, x.want, x.said)
		}
		if x.got == "fails" && !strings.Contains(x.said, "Failed to download metadata for repo 'baseos") {
			t.Errorf("%s: fails for another reason:\n%s", x.name, x.said)
		}
	}
	if !first.Load() || second.Load() {
		t.Errorf("both good: package from the preferred mirror: %v, from the other: %v", first.Load(), second.Load())
	}
}
