package imagetest

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rootfs"
	"github.com/cfbuild/cfbuild/pipelines"
)

// program is the header of an ELF file of a type.
func program(kind uint16, x elf) string {
	b := make([]byte, 64)
	copy(b, "\x7fELF")
	b[4], b[5], b[6] = x.class, 1, 1
	var o binary.ByteOrder = binary.LittleEndian
	if x.big {
		b[5], o = 2, binary.BigEndian
	}
	o.PutUint16(b[16:], kind)
	o.PutUint16(b[18:], x.machine)
	at := 36
	if x.class == 2 {
		at = 48
	}
	o.PutUint32(b[at:], x.flags)
	return string(b)
}

// with reads an image for a platform with these files.
func with(t *testing.T, p pipelines.Platform, files map[string]string) *image {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, body := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(body))
	}
	w.Close()
	i := &image{platform: p, elves: map[int]elf{}}
	i.config.Platform = oci.ToPlatform(p)
	i.fs = rootfs.New(rootfs.Options{Visit: i.header})
	if err := i.fs.Add(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return i
}

// Headers as the compilers of each architecture write them, and relatives that must
// not be taken for them.
func TestPlatforms(t *testing.T) {
	headers := map[string]elf{
		"amd64":          {2, false, 62, 0},
		"x32":            {1, false, 62, 0},
		"386":            {1, false, 3, 0},
		"arm64":          {2, false, 183, 0},
		"arm64be":        {2, true, 183, 0},
		"armhf":          {1, false, 40, 0x05000400},
		"armel":          {1, false, 40, 0x05000200},
		"arm, undecided": {1, false, 40, 0x05000000},
		"arm, old":       {1, false, 40, 0x04000000},
		"ppc64le":        {2, false, 21, 2},
		"ppc64, ELFv1":   {2, true, 21, 1},
		"ppc64le, ELFv1": {2, false, 21, 1},
		"s390x":          {2, true, 22, 0},
		"s390":           {1, true, 22, 0},
		"riscv64":        {2, false, 243, 5},
		"riscv64, soft":  {2, false, 243, 1},
		"loong64":        {2, false, 258, 0x43},
		"loong64, soft":  {2, false, 258, 0x41},
		"mips64le":       {2, false, 8, 0x80000007},
		"mips n32":       {1, false, 8, 0x80000027},
		"mipsle":         {1, false, 8, 0x70001007},
		"mips":           {1, true, 8, 0x70001007},
	}
	fits := map[string][]string{
		"linux/amd64":    {"amd64"},
		"linux/amd64/v3": {"amd64"},
		"linux/386":      {"386"},
		"linux/arm64":    {"arm64"},
		"linux/arm/v5":   {"armel", "arm, undecided"},
		"linux/arm/v6":   {"armel", "armhf", "arm, undecided"},
		"linux/arm/v7":   {"armhf", "arm, undecided"},
		"linux/ppc64le":  {"ppc64le"},
		"linux/s390x":    {"s390x"},
		"linux/riscv64":  {"riscv64"},
		"linux/loong64":  {"loong64"},
		"linux/mips64le": {"mips64le"},
		"linux/mipsle":   {"mipsle"},
	}
	for name, list := range fits {
		p, err := pipelines.ParsePlatform(name)
		if err != nil {
			t.Fatal(err)
		}
		good := map[string]bool{}
		for _, l := range list {
			good[l] = true
		}
		for what, x := range headers {
			for _, kind := range []uint16{2, 3} {
				got := with(t, p, map[string]string{"bin/x": program(kind, x)}).programs(pipelines.TestPlatform{})
				if (len(got) == 0) != good[what] {
					t.Errorf("%s on %s: %q", what, name, got)
				}
			}
		}
	}
	for _, a := range pipelines.KnownArchitectures() {
		if _, ok := abis[a]; !ok {
			t.Errorf("what programs for %s look like is not known", a)
		}
	}
}

func TestPlatformLooksAtProgramsAlone(t *testing.T) {
	amd64 := pipelines.Platform{OS: "linux", Architecture: "amd64"}
	arm := elf{2, false, 183, 0}
	files := map[string]string{
		"lib/firmware/x.bin": program(2, arm), "usr/share/qemu/boot/a.rom": program(2, elf{1, true, 20, 0}),
		"lib/modules/bpf.o": program(1, elf{2, false, 247, 0}), // an object file
		"short":             "\x7fELF", "text": strings.Repeat("no program ", 10), "bin/ok": program(3, elf{2, false, 62, 0}),
	}
	i := with(t, amd64, files)
	if got := i.programs(pipelines.TestPlatform{Except: []string{"/lib/firmware", "/usr/share/*/*/*.rom"}}); len(got) != 0 {
		t.Errorf("%q", got)
	}
	got := i.programs(pipelines.TestPlatform{})
	if len(got) != 2 || got[0] != "want linux/amd64, got 64-bit arm64: /lib/firmware/x.bin" || got[1] != "want linux/amd64, got 32-bit big-endian ppc: /usr/share/qemu/boot/a.rom" {
		t.Errorf("%q", got)
	}
	many := map[string]string{}
	for n := range 20 {
		many[fmt.Sprintf("lib/%02d", n)] = program(3, arm)
	}
	if got := with(t, amd64, many).programs(pipelines.TestPlatform{}); len(got) != listed+1 || got[listed] != "and 12 more files for other platforms" {
		t.Errorf("%q", got)
	}
	i.config.Platform.Architecture = "arm64"
	if got := i.programs(pipelines.TestPlatform{Except: []string{"/*"}}); len(got) != 1 || got[0] != "want the configuration to say linux/amd64, got linux/arm64" {
		t.Errorf("%q", got)
	}
}
