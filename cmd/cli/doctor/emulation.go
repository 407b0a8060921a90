package doctor

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// emulators are qemu's names of the architectures distributions ship today.
var emulators = []struct{ platform, qemu string }{
	{"linux/amd64", "x86_64"}, {"linux/arm64", "aarch64"}, {"linux/arm/v7", "arm"}, {"linux/386", "i386"},
	{"linux/ppc64le", "ppc64le"}, {"linux/s390x", "s390x"}, {"linux/riscv64", "riscv64"},
}

const binfmt = "/proc/sys/fs/binfmt_misc"

// emulation says for each foreign architecture who would run its programs: a
// registration of the host, or qemu-user-static registered in our own namespace.
func (m *machine) emulation(context.Context) []Check {
	host := pipelines.HostPlatform()
	var missing []string
	var out []Check
	for _, e := range emulators {
		p, err := pipelines.ParsePlatform(e.platform)
		if err != nil || p == host || (host.Architecture == "amd64" && p.Architecture == "386") {
			continue
		}
		c := Check{Area: areaEmulation, Name: p.String(), Status: OK}
		switch flags, interpreter, ok := m.registered(e.qemu); {
		case ok && strings.Contains(flags, "F"):
			c.Text = "registered with the host's binfmt_misc: " + interpreter
		case ok:
			c.Status, c.Text = Warning, "registered without flag F: "+interpreter+" would have to be in the image"
			c.Fix = []string{"sudo apt-get install --reinstall qemu-user-static"}
		case m.qemu(e.qemu) == "":
			missing = append(missing, p.String())
			continue
		case m.UID != 0 && !m.kernel(6, 7):
			c.Status = Warning
			c.Text = m.qemu(e.qemu) + " is there, but not registered, and only root or kernel 6.7 can do that"
			c.Fix = []string{"sudo systemctl restart systemd-binfmt"}
		default:
			c.Text = m.qemu(e.qemu) + ", registered in a namespace of our own when needed"
		}
		out = append(out, c)
	}
	if len(missing) > 0 {
		c := Check{Area: areaEmulation, Name: "qemu", Status: Warning, Text: "no emulator for " + strings.Join(missing, ", "),
			Fix: []string{"sudo apt-get install qemu-user-static"}}
		if m.container() {
			c.Fix = []string{"in the job image: apt-get install qemu-user-static", "or on the runner's host: sudo apt-get install qemu-user-static binfmt-support"}
		}
		out = append(out, c)
	}
	return out
}

// registered reads the host's entry for an emulator (kernel docs, binfmt-misc).
func (m *machine) registered(qemu string) (flags, interpreter string, ok bool) {
	text, ok := m.word(binfmt + "/qemu-" + qemu)
	if !ok || !strings.HasPrefix(text, "enabled") {
		return "", "", false
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if v, is := strings.CutPrefix(line, "flags:"); is {
			flags = strings.TrimSpace(v)
		}
		if v, is := strings.CutPrefix(line, "interpreter "); is {
			interpreter = v
		}
	}
	return flags, interpreter, true
}

// qemu finds a static emulator.
func (m *machine) qemu(arch string) string {
	for _, name := range []string{"qemu-" + arch + "-static", "qemu-" + arch} {
		if p := m.program(name); p != "" {
			return p
		}
	}
	return ""
}

// kernel says whether the kernel is at least major.minor.
func (m *machine) kernel(major, minor int) bool {
	release, _ := m.word("/proc/sys/kernel/osrelease")
	a, rest, _ := strings.Cut(release, ".")
	b := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		b = rest[:i]
	}
	x, err1 := strconv.Atoi(a)
	y, err2 := strconv.Atoi(b)
	return err1 == nil && err2 == nil && (x > major || (x == major && y >= minor))
}

// gitlab looks at what a job needs to push.
func (m *machine) gitlab(context.Context) []Check {
	if m.Getenv("GITLAB_CI") != "true" {
		return nil
	}
	c := Check{Area: areaCI, Name: "container registry", Status: OK}
	switch image := m.Getenv("CI_REGISTRY_IMAGE"); {
	case image == "":
		c.Status, c.Text = Warning, "CI_REGISTRY_IMAGE is not set: run --push auto will push nowhere"
		c.Fix = []string{"project, Settings > General > Visibility: enable Container registry"}
	case m.Getenv("CI_REGISTRY_PASSWORD") == "" && m.Getenv("CI_JOB_TOKEN") == "":
		c.Status, c.Text = Failed, "neither CI_REGISTRY_PASSWORD nor CI_JOB_TOKEN is set"
	default:
		c.Text = fmt.Sprintf("run --push auto pushes to %s/TARGET", image)
	}
	return []Check{c}
}
