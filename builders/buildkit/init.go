//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"path"
	"strings"

	"github.com/moby/buildkit/client/llb"
)

// initPath is where the first process of a step without a shell lies.
const initPath = "/dev/cfbuild-init"

// initCode is a whole program for one processor, in machine code: it starts its
// arguments as a child, waits for it, and ends as that did (128 and the signal's number
// after a signal). Without it the step's program would be the first process of its
// container, which no signal of its own ends: an emulator whose program crashed would
// wait for ever. fork, wait4 in a loop until it is the child, exit_group; execve in the
// child.
var initCode = map[string]struct {
	machine elf.Machine
	code    string
}{
	"amd64": {elf.EM_X86_64, "" +
		"4889e3" + "b839000000" + "0f05" + "85c0" + "7439" + "4189c4" + // mov rbx,rsp; fork; jz child; mov r12d,eax
		"bfffffffff" + "488d73f0" + "31d2" + "4531d2" + "b83d000000" + "0f05" + // wait4(-1, rbx-16, 0, 0)
		"4439e0" + "75e6" + "8b7bf0" + "89f8" + "83e07f" + "7408" + // not the child: again; status & 127; jz exited
		"8db880000000" + "eb03" + "c1ef08" + // 128+signal; or status >> 8
		"b8e7000000" + "0f05" + // exit_group
		"488d7310" + "488b3e" + "488b0b" + "488d54cb10" + "b83b000000" + "0f05" + // execve(argv[1], argv+1, envp)
		"bf7f000000" + "ebdc"}, // exit 127
	"arm64": {elf.EM_AARCH64, "" +
		"f3030091" + "200280d2" + "010080d2" + "020080d2" + "030080d2" + "040080d2" + "881b80d2" + "010000d4" + // clone(SIGCHLD)
		"400200b4" + "f40300aa" + // cbz child; mov x20,x0
		"00008092" + "614200d1" + "020080d2" + "030080d2" + "882080d2" + "010000d4" + // wait4(-1, sp-16, 0, 0)
		"1f0014eb" + "21ffff54" + "61025fb8" + "20180072" + "60000054" + "00000211" + "02000014" + "207c0853" +
		"c80b80d2" + "010000d4" + // exit_group
		"61420091" + "200040f9" + "620240f9" + "620e028b" + "42400091" + "a81b80d2" + "010000d4" + // execve
		"e00f8052" + "f6ffff17"},
}

// initProgram makes the program for an architecture; nil: there is none.
func initProgram(arch string) []byte {
	c, ok := initCode[arch]
	if !ok {
		return nil
	}
	code, err := hex.DecodeString(c.code)
	if err != nil {
		panic(err) // it is written above
	}
	const base = 0x400000
	size := uint64(64 + 56 + len(code))
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(c.machine), Version: 1, Entry: base + 120, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	p := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x10000}
	var b bytes.Buffer
	for _, v := range []any{h, p, code} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err) // fixed sizes into memory
		}
	}
	return b.Bytes()
}

// under puts a step's program below the first process, which wants its whole path.
// Where it is not found, or the daemon's machine is one we have no code for, it stays
// the first process itself.
func (s *runStep) under(ctx context.Context, args []string, search string) ([]string, error) {
	code := initProgram(s.l.native.Architecture)
	if code == nil {
		return args, nil
	}
	program, err := s.which(ctx, args[0], search)
	if err != nil || program == "" {
		return args, err
	}
	root := newDir(0o755, 0, 0)
	root.add("init", &item{kind: tar.TypeReg, mode: 0o755, data: code})
	d, err := pack(s.l.packs, s.l.native, s.l.epoch, root)
	if err != nil {
		return nil, err
	}
	st := s.l.layout(d.Digest, s.l.native, "pack", "files of this definition")
	s.add(llb.AddMount(initPath, st, llb.SourcePath("/init"), llb.Readonly))
	return append([]string{initPath, program}, args[1:]...), nil
}

// which finds a program as execvp(3) does; empty: nobody can say.
func (s *runStep) which(ctx context.Context, name, search string) (string, error) {
	if s.l.look == nil {
		return "", nil
	}
	t, err := s.l.look.at(ctx, s.below)
	if err != nil {
		return "", err
	}
	dirs := strings.Split(search, ":")
	if strings.Contains(name, "/") {
		dirs = []string{s.dir}
		if path.IsAbs(name) {
			dirs = []string{"/"}
		}
	}
	for _, d := range dirs {
		p := path.Join("/", d, name)
		_, st, err := resolve(ctx, t, p, true)
		if err != nil {
			return "", err
		}
		if st != nil && isRegular(st) && st.Mode&0o111 != 0 {
			return p, nil
		}
	}
	return "", nil
}
