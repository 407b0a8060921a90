// Package doctor looks at a machine and says what building images on it lacks and
// the command or line that mends it. It changes nothing on the machine.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Status of a check.
type Status string

// The states. Failed things keep every builder or a named need from working;
// a warning costs a feature or speed.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
)

// Check is one thing that was looked at.
type Check struct {
	Area   string `json:"area"`
	Name   string `json:"name"`
	Status Status `json:"status"`
	Text   string `json:"text"`
	// Fix are commands or configuration lines, in order.
	Fix []string `json:"fix,omitempty"`
}

// Input is what the checks look at.
type Input struct {
	// Root is where the machine's files are, default "/".
	Root   string
	Getenv func(string) string
	Now    func() time.Time
	UID    int
	// User is the login name, "" when the user database has none.
	User string
	// StateDir and the other directories need disk space.
	StateDir string
	Dirs     []string
	Site     site.Site
	// MachineCAs are what administrators added to this machine's trust.
	MachineCAs []site.Certificate
	Pipeline   pipelines.Pipeline
	Backends   []builders.Backend
	// Workers is the address for backends that have some (CFBUILD_WORKERS).
	Workers string
	// Timeout of each check, default 15 s.
	Timeout time.Duration
}

// Result is everything that was found, in a fixed order.
type Result struct {
	Checks []Check `json:"checks"`
	// Working builders, by name.
	Working []string `json:"working"`
}

// Run makes all checks at once.
func Run(ctx context.Context, in Input) Result {
	if in.Root == "" {
		in.Root = "/"
	}
	if in.Timeout <= 0 {
		in.Timeout = 15 * time.Second
	}
	m := &machine{Input: in}
	var probes []func(context.Context) []Check
	var working sync.Map
	for _, b := range in.Backends {
		probes = append(probes, func(ctx context.Context) []Check {
			c, ok := m.builder(ctx, b)
			if ok {
				working.Store(b.Name, true)
			}
			return []Check{c}
		})
	}
	probes = append(probes, m.namespaces, m.subordinate, m.overlay, m.fuse, m.emulation, m.disk, m.gitlab)
	probes = append(probes, m.network()...)
	all := make([][]Check, len(probes))
	var wg sync.WaitGroup
	for i, probe := range probes {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, in.Timeout)
			defer cancel()
			all[i] = probe(ctx)
		})
	}
	wg.Wait()
	out := Result{Checks: []Check{}, Working: []string{}}
	for _, cs := range all {
		out.Checks = append(out.Checks, cs...)
	}
	for _, b := range in.Backends {
		if _, ok := working.Load(b.Name); ok {
			out.Working = append(out.Working, b.Name)
		}
	}
	out.relax()
	return out
}

// relax turns failed needs of the machine, and other builders that do not work,
// into warnings when a builder works: it has found a way around them.
func (r *Result) relax() {
	if len(r.Working) == 0 {
		return
	}
	for i, c := range r.Checks {
		if c.Status == Failed && (c.Area == areaKernel || c.Area == areaStorage || c.Area == areaBuilder) {
			r.Checks[i].Status = Warning
		}
	}
}

// The areas, as headings.
const (
	areaBuilder   = "builders"
	areaKernel    = "user namespaces"
	areaStorage   = "storage"
	areaEmulation = "emulation"
	areaDisk      = "disk"
	areaCI        = "GitLab"
	areaMirrors   = "mirrors"
	areaRegistry  = "registries"
	areaTrust     = "certificate authorities"
)

type machine struct{ Input }

func (m *machine) path(p string) string { return filepath.Join(m.Root, p) }

// word reads a file of /proc or /sys; ok is false where there is none.
func (m *machine) word(p string) (string, bool) {
	b, err := os.ReadFile(m.path(p))
	return strings.TrimSpace(string(b)), err == nil
}

func (m *machine) exists(p string) bool {
	_, err := os.Stat(m.path(p))
	return err == nil
}

// program finds a program on PATH.
func (m *machine) program(name string) string {
	for _, dir := range append(filepath.SplitList(m.Getenv("PATH")), "/usr/bin", "/usr/sbin", "/bin", "/sbin") {
		p := filepath.Join(m.path(dir), name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}

// container says whether this is a container, where sysctls and packages of the
// host are out of reach.
func (m *machine) container() bool {
	return m.exists("/.dockerenv") || m.exists("/run/.containerenv") || m.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

// runnerFix is what a GitLab runner's docker executor needs for namespaces.
func (m *machine) runnerFix() []string {
	return []string{
		"GitLab runner, config.toml, [runners.docker]: security_opt = [\"seccomp=unconfined\", \"apparmor=unconfined\"]",
		"or: privileged = true",
		"docker or podman: --security-opt seccomp=unconfined --security-opt apparmor=unconfined",
	}
}

// Write prints the result for a person.
func (r Result) Write(w io.Writer) error {
	var b strings.Builder
	area := ""
	for _, c := range r.Checks {
		if c.Area != area {
			area = c.Area
			fmt.Fprintf(&b, "%s\n", area)
		}
		mark := map[Status]string{OK: "ok  ", Warning: "warn", Failed: "FAIL"}[c.Status]
		fmt.Fprintf(&b, "  %s  %s: %s\n", mark, c.Name, strings.ReplaceAll(c.Text, "\n", "\n        "))
		for _, f := range c.Fix {
			fmt.Fprintf(&b, "        > %s\n", f)
		}
	}
	if len(r.Working) == 0 {
		b.WriteString("\nNo builder works here.\n")
	} else {
		fmt.Fprintf(&b, "\nBuilders that work here: %s\n", strings.Join(r.Working, ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (m *machine) builder(ctx context.Context, b builders.Backend) (Check, bool) {
	c := Check{Area: areaBuilder, Name: b.Name, Status: Failed}
	if b.Open == nil {
		c.Text = "left out of this program: " + b.Stub
		return c, false
	}
	address := ""
	if b.Workers != nil {
		address = m.Workers
	}
	builder, err := b.Open(ctx, builders.Options{Address: address, Getenv: m.Getenv, Site: m.Site, StateDir: filepath.Join(m.StateDir, b.Name)})
	var caps builders.Capabilities
	if err == nil {
		caps, err = builder.Capabilities(ctx)
	}
	if err != nil {
		c.Text = err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			c.Text = fmt.Sprintf("did not answer within %s", m.Timeout)
		}
		if h, ok := err.(interface{ Hint() string }); ok && h.Hint() != "" {
			c.Fix = []string{h.Hint()}
		}
		return c, false
	}
	lines := append([]string{}, caps.Detail...)
	if len(caps.Platforms) > 0 {
		lines = append(lines, "platforms: "+platformsText(caps))
	}
	if !caps.Available {
		c.Text = strings.Join(append([]string{caps.Reason}, lines...), "\n")
		if caps.Fix != "" {
			c.Fix = []string{caps.Fix}
		}
		if b.OnRequest { // nobody who does not name it misses it
			c.Status = OK
			c.Text = "used only when it is named, and not here: " + c.Text
		}
		return c, false
	}
	c.Status = OK
	c.Text = strings.Join(append([]string{"available"}, lines...), "\n")
	return c, true
}

func platformsText(caps builders.Capabilities) string {
	var out []string
	for _, p := range caps.Platforms {
		s := p.String()
		for _, e := range caps.Emulated {
			if e == p {
				s += " (emulated)"
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// try runs a short command and gives its error with what it said.
func try(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(lastLine(string(out))))
	}
	return err
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
