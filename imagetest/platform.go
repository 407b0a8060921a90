package imagetest

import (
	"encoding/binary"
	"fmt"
	"io"
	"path"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/pipelines"
)

// elf is what the header of a program or shared library says (System V ABI, "ELF
// header"; numbers of elf.h).
type elf struct {
	class   byte // 1: 32 bits, 2: 64 bits
	big     bool
	machine uint16
	flags   uint32
}

// header looks at the beginning of each file. Object files, kernel modules and core
// dumps are left out: they are not run.
func (i *image) header(_ int, e *rootfs.Entry, r io.Reader) error {
	if e.Size < 52 {
		return nil
	}
	var b [52]byte
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return err
	}
	if string(b[:4]) != "\x7fELF" {
		return nil
	}
	if _, err := io.ReadFull(r, b[4:]); err != nil {
		return err
	}
	var o binary.ByteOrder = binary.LittleEndian
	x := elf{class: b[4], big: b[5] == 2}
	if x.big {
		o = binary.BigEndian
	}
	x.machine = o.Uint16(b[18:])
	x.flags = o.Uint32(b[36:])
	if x.class == 2 {
		x.flags = o.Uint32(b[48:])
	}
	if kind := o.Uint16(b[16:]); kind == 2 || kind == 3 { // ET_EXEC, ET_DYN
		i.elves[e.Inode] = x
	}
	return nil
}

// abi is what the programs of an architecture look like.
type abi struct {
	class   byte
	big     bool
	machine uint16
	// flags says what is wrong with e_flags; nil: they mean nothing here.
	flags func(variant string, f uint32) string
}

var abis = map[string]abi{
	"386":     {1, false, 3, nil},
	"amd64":   {2, false, 62, nil}, // x32 has 32 bits
	"arm":     {1, false, 40, armFlags},
	"arm64":   {2, false, 183, nil},
	"loong64": {2, false, 258, loongFlags},
	"mipsle":  {1, false, 8, mipsFlags},
	// n64 has neither the mark of o32 nor that of n32, which has 32 bits anyway.
	"mips64le": {2, false, 8, nil},
	"ppc64le":  {2, false, 21, ppcFlags},
	"riscv64":  {2, false, 243, riscvFlags},
	"s390x":    {2, true, 22, nil},
}

// armFlags: EABI version 5; where floats are passed has to fit v5 (Debian's armel,
// in general registers) and v7 (armhf, in those of the coprocessor). Both are in use
// for v6. Which instructions are used is not in the header.
func armFlags(variant string, f uint32) string {
	const version, soft, hard = 0xff000000, 0x200, 0x400
	switch {
	case f&version != 0x05000000:
		return fmt.Sprintf("EABI version %d, not 5", f>>24)
	case variant == "v5" && f&hard != 0:
		return "hard float"
	case (variant == "v7" || variant == "v8") && f&soft != 0 && f&hard == 0:
		return "soft float"
	}
	return ""
}

func mipsFlags(_ string, f uint32) string {
	if f&0x20 != 0 { // EF_MIPS_ABI2
		return "ABI n32, not o32"
	}
	return ""
}

// ppcFlags: 2 is ELFv2, 0 does not say.
func ppcFlags(_ string, f uint32) string {
	if f&3 == 1 {
		return "ABI ELFv1, not ELFv2"
	}
	return ""
}

func riscvFlags(_ string, f uint32) string {
	if f&6 != 4 { // EF_RISCV_FLOAT_ABI_DOUBLE
		return "not ABI lp64d"
	}
	return ""
}

func loongFlags(_ string, f uint32) string {
	if f&7 != 3 { // EF_LOONGARCH_ABI_DOUBLE_FLOAT
		return "not ABI lp64d"
	}
	return ""
}

var machines = map[uint16]string{2: "sparc", 3: "386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390", 40: "arm", 43: "sparc64", 62: "amd64",
	183: "arm64", 243: "riscv", 247: "bpf", 258: "loongarch"}

// String is "64-bit amd64" or "32-bit big-endian mips".
func (x elf) String() string {
	name, ok := machines[x.machine]
	if !ok {
		name = fmt.Sprintf("machine %d", x.machine)
	}
	s := "64-bit "
	if x.class == 1 {
		s = "32-bit "
	}
	if x.big {
		s += "big-endian "
	}
	return s + name
}

// wrong says why a program is not for a platform; "" when it is.
func (x elf) wrong(p pipelines.Platform) string {
	a, ok := abis[p.Architecture]
	switch {
	case !ok:
		return "" // nothing is known of it
	case x.machine != a.machine || x.class != a.class || x.big != a.big:
		return x.String()
	case a.flags != nil:
		if why := a.flags(p.Variant, x.flags); why != "" {
			return x.String() + ", " + why
		}
	}
	return ""
}

// listed is how many files a result names.
const listed = 8

func (i *image) programs(t pipelines.TestPlatform) []string {
	var bad []string
	if got := oci.FromPlatform(i.config.Platform); got != i.platform {
		bad = append(bad, fmt.Sprintf("want the configuration to say %s, got %s", i.platform, got))
	}
	if _, ok := abis[i.platform.Architecture]; !ok {
		return append(bad, fmt.Sprintf("what programs for %s look like is not known", i.platform.Architecture))
	}
	more := 0
	i.fs.Walk("/", func(e *rootfs.Entry) error {
		x, ok := i.elves[e.Inode]
		if !ok || e.Type != rootfs.File || excepted(t.Except, e.Path) {
			return nil
		}
		why := x.wrong(i.platform)
		switch {
		case why == "":
		case len(bad) < listed:
			bad = append(bad, fmt.Sprintf("want %s, got %s: %s", i.platform, why, e.Path))
		default:
			more++
		}
		return nil
	})
	if more > 0 {
		bad = append(bad, fmt.Sprintf("and %d more files for other platforms", more))
	}
	return bad
}

// excepted: a pattern matches the path or a directory above it.
func excepted(patterns []string, p string) bool {
	for _, pattern := range patterns {
		for d := p; d != "/"; d = path.Dir(d) {
			if ok, _ := path.Match(pattern, d); ok {
				return true
			}
		}
	}
	return false
}
