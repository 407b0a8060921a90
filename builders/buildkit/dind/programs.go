package dind

import (
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// program is one static program and the name it gets in our image. The names are those
// of upstream's images, so that both kinds are used alike.
type program struct {
	name string // in /usr/bin
	path string
	size int64
}

// programs are the three that BuildKit consists of.
type programs struct {
	files   []program
	version string // "v0.33.1", or "built-HASH" where it says nothing of itself
	id      string // differs where their content does
}

// machines by the name that Docker has from uname(2).
var machines = map[string]elf.Machine{
	"x86_64": elf.EM_X86_64, "aarch64": elf.EM_AARCH64, "arm64": elf.EM_AARCH64, "armv7l": elf.EM_ARM, "ppc64le": elf.EM_PPC64,
	"s390x": elf.EM_S390, "riscv64": elf.EM_RISCV, "i686": elf.EM_386,
}

// find gives the programs of the first directory that has all three, for the daemon's
// architecture. None: nil, unless the user named the directory.
func find(o *Options, arch string) (*programs, error) {
	for i, dir := range o.Programs {
		p, why := in(dir, arch)
		if why == nil {
			return p, nil
		}
		if o.Named && i == 0 {
			return nil, &Error{Problem: NoPrograms, Host: o.Host, Reason: "binaries=" + dir, Err: why,
				Fix: "put static buildkitd, buildctl and buildkit-runc there; BuildKit's release archives have them, and so has scripts/buildkit of cfbuild's source"}
		}
		if !os.IsNotExist(why) {
			o.log("docker: programs of " + dir + " are not used: " + why.Error())
		}
	}
	return nil, nil
}

func in(dir, arch string) (*programs, error) {
	p := &programs{}
	sum := sha256.New()
	for _, want := range []struct {
		name string
		from []string
	}{{"buildkitd", []string{"buildkitd"}}, {"buildctl", []string{"buildctl"}}, {"buildkit-runc", []string{"buildkit-runc", "runc"}}} {
		var found *program
		var err error
		for _, from := range want.from {
			if found, err = static(filepath.Join(dir, from), arch); err == nil {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		found.name = want.name
		id, err := identity(found.path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(sum, "%s %d %s\n", found.name, found.size, id)
		p.files = append(p.files, *found)
	}
	p.id = hex.EncodeToString(sum.Sum(nil))
	p.version = versionOf(p.files[0].path)
	if p.version == "" {
		p.version = "built-" + p.id[:12]
	}
	return p, nil
}

// static opens a program that needs no other file to run.
func static(path, arch string) (*program, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
		return nil, fmt.Errorf("%s is not a program", path)
	}
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	if want, ok := machines[arch]; ok && f.Machine != want {
		return nil, fmt.Errorf("%s is for %v, and the daemon's machine is %s", path, f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s is not static: it needs a loader and libraries that an image made from scratch has not", path)
		}
	}
	return &program{path: path, size: st.Size()}, nil
}

// identity tells a program's content without reading it whole: Go notes a hash of all that
// went into it. A program without the note is read.
func identity(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if s := f.Section(".note.go.buildid"); s != nil {
		// name size, description size, type, "Go\0\0", description: elf(5).
		if b, err := s.Data(); err == nil && len(b) > 16 && strings.Count(string(b[16:]), "/") == 3 {
			return string(b[16:]), nil
		}
	}
	r, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

var released = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-rc[0-9]+)?$`)

// versionOf is the version of BuildKit a program was compiled from, or "".
func versionOf(path string) string {
	const module = "github.com/moby/buildkit"
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return ""
	}
	version := ""
	if info.Main.Path == module {
		version = info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == module {
			version = d.Version
		}
	}
	for _, s := range info.Settings {
		if _, after, ok := strings.Cut(s.Value, module+"/version.Version="); ok && s.Key == "-ldflags" {
			version = strings.TrimRight(strings.Fields(after)[0], `"'`)
		}
	}
	if !released.MatchString(version) {
		return ""
	}
	return version
}
