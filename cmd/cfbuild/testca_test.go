//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

// caTargets are images with clients for the inspection proof, and with faults.
func caTargets(s site.Site) []pipelines.Target {
	few := []string{"ca-certificates", "curl", "openssl", "liblwp-protocol-https-perl"}
	small := append(few[:len(few):len(few)], "wget", "git", "python3-pip")
	all := append(small[:len(small):len(small)], "python3-requests", "python3-venv", "nodejs", "npm", "default-jre-headless", "r-base-core", "ruby", "dnf", "zypper")
	var out []pipelines.Target
	add := func(name string, o debian.Options, then ...pipelines.Step) {
		out = append(out, pipelines.Target{Name: name, Build: func(p pipelines.Platform) pipelines.Image {
			return debian.New(o)(s, p).Then(then...)
		}})
	}
	add("ca11", debian.Options{Suite: "bullseye", Include: small})
	add("ca12", debian.Options{Suite: "bookworm", Include: all})
	// Node and requests as they are when they come from elsewhere: with roots of
	// their own. Only the image's variables make them trust the site.
	add("ca13", debian.Options{Suite: "trixie", Include: append(small[:len(small):len(small)], "python3-requests", "nodejs", "default-jre-headless")},
		pipelines.Configure{Env: map[string]string{"NODE_OPTIONS": "--use-bundled-ca"}},
		pipelines.File{Path: "/opt/roots.pem", Data: steptrust.Mozilla()},
		pipelines.File{Path: "/usr/lib/python3/dist-packages/certifi/core.py",
			Data: []byte("def where():\n    return '/opt/roots.pem'\n\ndef contents():\n    return open(where()).read()\n")})
	add("ca12few", debian.Options{Suite: "bookworm", Include: few})
	// Faults: a client that does not verify, a recipe that takes no authority, a
	// step that keeps what it was lent, an image without a shell.
	add("careless", debian.Options{Suite: "bookworm", Include: []string{"ca-certificates", "curl", "git"}},
		pipelines.File{Path: "/etc/gitconfig", Data: []byte("[http]\n\tsslVerify = false\n")})
	add("untrusting", debian.Options{Suite: "bookworm", Include: few, NoTrust: true})
	add("keeps", debian.Options{Suite: "bookworm", Include: few},
		pipelines.Run{Shell: `if [ -n "$SSL_CERT_FILE" ]; then cp "$SSL_CERT_FILE" /opt/kept.pem; fi`})
	// A step that adds the site's authority by itself, while it is lent the same.
	add("byhand", debian.Options{Suite: "bookworm", Include: few, NoTrust: true},
		pipelines.File{Path: "/usr/local/share/ca-certificates/lab.crt", Data: site.Bundle(s.ImageCAs())},
		pipelines.Run{Shell: "update-ca-certificates --fresh"})
	out = append(out, pipelines.Target{Name: "shellless", Build: func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Scratch{}).Then(pipelines.File{Path: "/hello", Data: []byte("hello\n")},
			pipelines.File{Path: "/ca", Data: site.Bundle(s.ImageCAs())})
	}})
	return append(out, caForeignTargets(s)...)
}

// caReport is the --json form of test ca.
type caReport struct {
	Mode   string
	Red    int
	Images []struct {
		Target, Platform, Fault string
		Clients                 []struct {
			Client, Status, Why string
		}
	}
}

// with gives the clients of an image that have a status.
func (r caReport) with(t *testing.T, target, status string) []string {
	t.Helper()
	for _, i := range r.Images {
		if i.Target != target {
			continue
		}
		var out []string
		for _, c := range i.Clients {
			if c.Status == status {
				out = append(out, c.Client)
			}
		}
		return out
	}
	t.Fatalf("no image %s in %+v", target, r)
	return nil
}

// proveCA runs the proof and wants an exit code.
func (w *world) proveCA(code int, args ...string) (caReport, string) {
	w.t.Helper()
	if !slices.Contains(args, "--site") {
		args = append(args, "--site", frozenSite(w.t))
	}
	cmd := w.start(append([]string{"test", "ca", "--json", "--progress", "plain"}, args...)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	_ = cmd.Run() // its exit code counts
	stderr := e.String()
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("test ca %s: exit code %d, want %d\n%s\n%s", strings.Join(args, " "), got, code, stderr[max(0, len(stderr)-3000):], o.String()[max(0, o.Len()-6000):])
	}
	if o.Len() == 0 {
		return caReport{}, stderr
	}
	return decode[caReport](w.t, o.String()), stderr
}

// Every client of Debian 11, 12 and 13 works behind an inspecting proxy with the
// site's authority, and refuses it without; on two platforms; in the three modes.
func TestInspectionProof(t *testing.T) {
	w := newWorld(t, nil)
	file := filepath.Join(w.dir, "ca.xml")
	rep, _ := w.proveCA(0, "ca11", "ca12", "ca13", "--junit", file)
	want := map[string]string{
		"ca11": "curl, wget, git, openssl, python, pip, perl LWP, perl HTTP::Tiny, apt",
		"ca12": "curl, wget, git, openssl, python, python requests, pip, pip in a venv, node, npm, java, R, perl LWP, perl HTTP::Tiny, ruby, apt, dnf, zypper",
		"ca13": "curl, wget, git, openssl, python, python requests, pip, node, java, perl LWP, perl HTTP::Tiny, apt",
	}
	for target, clients := range want {
		if got := strings.Join(rep.with(t, target, "passed"), ", "); got != clients {
			t.Errorf("%s: green are %s\nwant %s", target, got, clients)
		}
	}
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	if b, err := os.ReadFile(file); err != nil || xml.Unmarshal(b, &suites) != nil || suites.Failures != 0 || suites.Tests-suites.Skipped != 9+18+12 {
		t.Errorf("JUnit: %v, %+v", err, suites)
	}

	// While building only: green in a step, red in an image that is the same.
	step, _ := w.proveCA(0, "ca12", "--ca-mode", "build-only")
	if got := strings.Join(step.with(t, "ca12", "passed"), ", "); got != want["ca12"] {
		t.Errorf("build-only: green are %s", got)
	}
	baked, _ := w.proveCA(0, "ca12few", "--ca-mode", "baked", "--platform", both)
	for _, i := range baked.Images {
		n := 0
		for _, c := range i.Clients {
			if c.Status == "passed" {
				n++
			}
		}
		if n != 5 {
			t.Errorf("%s: %d clients are green: %+v", i.Platform, n, i.Clients)
		}
	}
	if len(baked.Images) != 2 {
		t.Errorf("%d images", len(baked.Images))
	}
	keepMatrix(t, "deb", rep, step, baked)
}

// keepMatrix compares a matrix in docs/ca.md with what was just proven.
func keepMatrix(t *testing.T, family string, reports ...caReport) {
	t.Helper()
	type column struct{ head, cells []string }
	var columns []column
	var names []string
	for _, r := range reports {
		for _, i := range r.Images {
			if names == nil {
				for _, c := range i.Clients {
					names = append(names, c.Client)
				}
			}
			c := column{head: []string{i.Target, strings.TrimPrefix(i.Platform, "linux/"), r.Mode}}
			for _, v := range i.Clients {
				c.cells = append(c.cells, map[string]string{"passed": "yes", "failed": "NO", "absent": ""}[v.Status])
			}
			columns = append(columns, c)
		}
	}
	var b strings.Builder
	row := func(first string, cell func(column) string) {
		b.WriteString("| " + first + " |")
		for _, c := range columns {
			b.WriteString(" " + cell(c) + " |")
		}
		b.WriteString("\n")
	}
	row("client", func(c column) string { return strings.Join(c.head, " ") })
	row("---", func(column) string { return "---" })
	for n, name := range names {
		if slices.ContainsFunc(columns, func(c column) bool { return c.cells[n] != "" }) {
			row(name, func(c column) string { return c.cells[n] })
		}
	}
	const doc, end = "../../docs/ca.md", "<!-- end -->\n"
	begin := "<!-- matrix of " + family + ": go test ./cmd/cfbuild -run TestInspectionProof -update -->\n"
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the matrix", doc)
	}
	if old == b.String() {
		return
	}
	if golden.Updating() && !t.Failed() {
		if err := os.WriteFile(doc, []byte(head+begin+b.String()+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s has another matrix than was proven (go test -update writes it):\n%s", doc, b.String())
}

// What is wrong is red: a client that does not verify, an image that takes no
// authority, one that keeps what its step was lent, one that nothing can run in.
func TestInspectionProofFindsFaults(t *testing.T) {
	w := newWorld(t, nil)
	// apt is intercepted before ca-certificates is there: as a file in the image, and
	// lent to a step.
	rep, stderr := w.proveCA(8, "careless", "untrusting", "shellless", "debian12", "byhand")
	if ok := rep.with(t, "byhand", "passed"); len(ok) != 5 {
		t.Errorf("byhand: green are %v", ok)
	}
	if ok := rep.with(t, "debian12", "passed"); !slices.Equal(ok, []string{"apt"}) {
		t.Errorf("debian12: green are %v", ok)
	}
	if red := rep.with(t, "careless", "failed"); !slices.Equal(red, []string{"git"}) {
		t.Errorf("careless: red are %v", red)
	}
	if ok := rep.with(t, "careless", "passed"); !slices.Contains(ok, "curl") {
		t.Errorf("careless: green are %v", ok)
	}
	if red := rep.with(t, "untrusting", "failed"); !slices.Contains(red, "curl") || !slices.Contains(red, "apt") {
		t.Errorf("untrusting: red are %v", red)
	}
	fault := func(r caReport, target, says string) {
		t.Helper()
		for _, i := range r.Images {
			if i.Target == target && !strings.Contains(i.Fault, says) {
				t.Errorf("%s: fault %q does not say %q", target, i.Fault, says)
			}
		}
	}
	fault(rep, "untrusting", "does not change with the authority")
	fault(rep, "shellless", "has no /bin/sh")
	for _, i := range rep.Images {
		for _, c := range i.Clients {
			if i.Target == "careless" && c.Client == "git" && !strings.Contains(c.Why, "does not verify") {
				t.Errorf("git: %s", c.Why)
			}
		}
	}
	if rep.Red != 3 || !strings.Contains(stderr, "3 of 5 images are red") {
		t.Errorf("%d red\n%s", rep.Red, stderr)
	}
	kept, _ := w.proveCA(8, "keeps", "debian12", "--ca-mode", "build-only")
	if ok := kept.with(t, "debian12", "passed"); !slices.Equal(ok, []string{"apt"}) {
		t.Errorf("debian12 while building: green are %v", ok)
	}
	if kept.Red != 1 {
		t.Errorf("%d are red: %+v", kept.Red, kept)
	}
	fault(kept, "keeps", "stays in the image")
}
