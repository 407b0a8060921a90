//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"golang.org/x/sys/unix"
)

// An arch is what is needed to know whether programs of an architecture run here:
// the identity of its programs (ELF header) and the shortest program there is, one
// that exits with status 0.
type arch struct {
	qemu    string // qemu-NAME-static
	class   byte   // 1: 32 bits, 2: 64 bits
	big     bool   // big-endian
	machine uint16
	flags   uint32 // e_flags
	code    []byte
}

// arches by OCI architecture. Machine numbers are those of elf.h, the programs are
// "exit(0)" by each one's system call convention.
var arches = map[string]arch{
	"amd64":    {"x86_64", 2, false, 62, 0, []byte{0xb8, 0x3c, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}},
	"386":      {"i386", 1, false, 3, 0, []byte{0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80}},
	"arm64":    {"aarch64", 2, false, 183, 0, []byte{0x00, 0x00, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4}},
	"arm":      {"arm", 1, false, 40, 0x05000000, []byte{0x00, 0x00, 0xa0, 0xe3, 0x01, 0x70, 0xa0, 0xe3, 0x00, 0x00, 0x00, 0xef}},
	"ppc64le":  {"ppc64le", 2, false, 21, 2, []byte{0x01, 0x00, 0x00, 0x38, 0x00, 0x00, 0x60, 0x38, 0x02, 0x00, 0x00, 0x44}},
	"s390x":    {"s390x", 2, true, 22, 0, []byte{0xa7, 0x29, 0x00, 0x00, 0x0a, 0x01}},
	"riscv64":  {"riscv64", 2, false, 243, 5, []byte{0x13, 0x05, 0x00, 0x00, 0x93, 0x08, 0xd0, 0x05, 0x73, 0x00, 0x00, 0x00}},
	"loong64":  {"loongarch64", 2, false, 258, 0x43, []byte{0x04, 0x00, 0x80, 0x03, 0x0b, 0x74, 0x81, 0x03, 0x00, 0x00, 0x2b, 0x00}},
	"mips64le": {"mips64el", 2, false, 8, 0x80000000, []byte{0xc2, 0x13, 0x02, 0x24, 0x00, 0x00, 0x04, 0x24, 0x0c, 0x00, 0x00, 0x00}},
	"mipsle":   {"mipsel", 1, false, 8, 0x50001000, []byte{0xa1, 0x0f, 0x02, 0x24, 0x00, 0x00, 0x04, 0x24, 0x0c, 0x00, 0x00, 0x00}},
}

// put writes numbers in the architecture's byte order.
func (a arch) put(out []byte, size int, v uint64) []byte {
	for i := range size {
		shift := 8 * i
		if a.big {
			shift = 8 * (size - 1 - i)
		}
		out = append(out, byte(v>>shift))
	}
	return out
}

func (a arch) ident() []byte {
	data := byte(1)
	if a.big {
		data = 2
	}
	return append([]byte{0x7f, 'E', 'L', 'F', a.class, data, 1}, make([]byte, 9)...)
}

// program is a whole ELF executable: header, one segment, the code.
func (a arch) program() []byte {
	const base = 0x400000
	word, ehdr, phdr := 8, 64, 56
	if a.class == 1 {
		word, ehdr, phdr = 4, 52, 32
	}
	start := uint64(ehdr + phdr)
	size := start + uint64(len(a.code))
	h := a.ident()
	h = a.put(h, 2, 2) // executable
	h = a.put(h, 2, uint64(a.machine))
	h = a.put(h, 4, 1)
	h = a.put(h, word, base+start)
	h = a.put(h, word, uint64(ehdr))
	h = a.put(h, word, 0)
	h = a.put(h, 4, uint64(a.flags))
	for _, v := range []uint64{uint64(ehdr), uint64(phdr), 1, 0, 0, 0} {
		h = a.put(h, 2, v)
	}
	h = a.put(h, 4, 1) // to be loaded
	if a.class == 2 {
		h = a.put(h, 4, 5) // read and execute
	}
	for _, v := range []uint64{0, base, base, size, size} {
		h = a.put(h, word, v)
	}
	if a.class == 1 {
		h = a.put(h, 4, 5)
	}
	h = a.put(h, word, 0x10000)
	return append(h, a.code...)
}

// registration is the line that makes an interpreter run the architecture's
// programs (kernel docs, binfmt-misc.rst). F opens the interpreter now, so that it
// works in any root; P keeps argv[0]; O and C make setuid programs work.
func (a arch) registration(interpreter string) string {
	magic := a.put(a.put(a.ident(), 2, 2), 2, uint64(a.machine))
	mask := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	mask = a.put(a.put(mask, 2, 0xfffe), 2, 0xffff)
	escape := func(b []byte) string {
		var s strings.Builder
		for _, c := range b {
			fmt.Fprintf(&s, `\x%02x`, c)
		}
		return s.String()
	}
	return fmt.Sprintf(":qemu-%s:M::%s:%s:%s:POCF", a.qemu, escape(magic), escape(mask), interpreter)
}

// emulation knows which architectures run here, and makes more of them run.
type emulation struct {
	dir string
	mu  sync.Mutex
	// known is what was found out, by architecture.
	known map[string]answerFor
}

// answerFor is what enable found.
type answerFor struct {
	lines []string
	err   error
}

func newEmulation(dir string) *emulation {
	return &emulation{dir: dir, known: map[string]answerFor{}}
}

// native: programs run without an emulator, on this processor or for want of a
// better test on what this program was compiled for.
func native(p pipelines.Platform) bool {
	host := pipelines.HostPlatform().Architecture
	return p.Architecture == host || (host == "amd64" && p.Architecture == "386")
}

// prepare sees to it that steps of a node run, and says whether they are emulated.
func (e *emulation) prepare(n pipelines.Node, sc *stageConfig) (emulated bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if native(n.Platform) {
		return false, nil
	}
	name := n.Platform.Architecture
	lines, err := e.enable(name)
	if err != nil {
		return false, &builders.UnsupportedError{Builder: Name, Node: n, What: fmt.Sprintf("cannot run %s here: %v", n.Platform, err),
			Fix: "install the emulator (apt-get install qemu-user-static), or build on a native runner"}
	}
	sc.Binfmt = lines
	// Many 64-bit processors of this kind run the 32-bit programs themselves.
	half := name == "arm" && pipelines.HostPlatform().Architecture == "arm64"
	return !half || lines != nil || e.registered(name), nil
}

// enable makes an architecture run. lines are what a stage has to register; none
// when it runs already.
func (e *emulation) enable(name string) (lines []string, err error) {
	if _, ok := e.known[name]; !ok {
		e.find(name)
	}
	return e.known[name].lines, e.known[name].err
}

// find finds out how programs of some architectures run: as the machine has it, or
// with an emulator of our own.
func (e *emulation) find(names ...string) {
	here := stageProbe(e.dir, names, nil)
	own := map[string]string{}
	for _, name := range names {
		a, ok := arches[name]
		if !ok {
			e.known[name] = answerFor{err: errors.New("no emulator is known for it")}
			continue
		}
		// What the machine has registered counts if it works in another root.
		if here[name] == nil {
			e.known[name] = answerFor{}
			continue
		}
		qemu, err := exec.LookPath("qemu-" + a.qemu + "-static")
		if err != nil {
			if qemu, err = exec.LookPath("qemu-" + a.qemu); err != nil {
				e.known[name] = answerFor{err: fmt.Errorf("neither registered (binfmt_misc) nor found as qemu-%s-static", a.qemu)}
				continue
			}
		}
		own[name] = a.registration(qemu)
	}
	if len(own) == 0 {
		return
	}
	left := slices.Collect(maps.Keys(own))
	ours := stageProbe(e.dir, left, slices.Collect(maps.Values(own)))
	for _, name := range left {
		e.known[name] = answerFor{lines: []string{own[name]}, err: ours[name]}
	}
}

// registered: the machine says it has registered an emulator.
func (e *emulation) registered(name string) bool {
	_, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-" + arches[name].qemu)
	return err == nil
}

// registerAll mounts the instance of binfmt_misc of our user namespace and registers
// emulators in it. What the machine has registered does not count there. The
// registrations last until the file that is given back is closed: the kernel drops
// them when nothing holds the mount any more, which pivoting into a root hides.
func registerAll(dir string, lines []string) (*os.File, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("binfmt_misc", dir, "binfmt_misc", 0, ""); err != nil {
		if errors.Is(err, unix.EPERM) {
			return nil, errors.New("the kernel registers no emulators for user namespaces (6.7 and later do), and the machine has registered none")
		}
		return nil, fmt.Errorf("binfmt_misc: %w", err)
	}
	for _, l := range lines {
		if err := register(filepath.Join(dir, "register"), l); err != nil {
			return nil, fmt.Errorf("binfmt_misc: %w", err)
		}
	}
	return os.Open(dir)
}

func register(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

// stageProbe runs the shortest programs of architectures in a stage, where steps
// will run, with the emulators registered that lines say, and tells what came of
// each.
func stageProbe(dir string, names, lines []string) map[string]error {
	out := map[string]error{}
	progs := map[string]arch{}
	for _, name := range names {
		if a, ok := arches[name]; ok {
			progs[name] = a
		}
	}
	res, err := probeStage(dir, progs, lines)
	for name := range progs {
		switch why := res.Probes[name]; {
		case err != nil:
			out[name] = err
		case res.Error != "":
			out[name] = errors.New(res.Error)
		case why != "":
			out[name] = errors.New(why)
		}
	}
	return out
}

func probeStage(dir string, progs map[string]arch, lines []string) (stageResult, error) {
	r := filepath.Join(dir, "probe-root-"+newID())
	for _, d := range []string{"proc", "sys", "dev"} {
		if err := os.MkdirAll(filepath.Join(r, d), 0o755); err != nil {
			return stageResult{}, err
		}
	}
	defer os.RemoveAll(r)
	sc := &stageConfig{Rootfs: r, Bundle: r + ".bundle", Cwd: "/", Binfmt: lines}
	for name, a := range progs {
		if err := os.WriteFile(filepath.Join(r, name), a.program(), 0o755); err != nil {
			return stageResult{}, err
		}
		sc.Probes = append(sc.Probes, name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return runStage(ctx, sc, io.Discard)
}
