package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Maintainer scripts of a foreign root are scripts of the shell and of perl that
// start small programs by the hundred. Emulated, each start costs more than the
// work it does: configuring a minbase root takes five times as long as with the
// same programs, of the same suite and version, running natively. So a foreign root
// is configured with a few mounts of this machine's architecture, read-only and
// gone after the step: the shell and perl over their own paths, tools first in
// PATH, and their libraries. dpkg itself, ldconfig and everything else that knows
// its architecture stay the root's own.

// toolPackages have the programs; the essential set's libraries come with them.
var toolPackages = []string{"coreutils", "dash", "debianutils", "diffutils", "findutils", "grep", "hostname", "mawk", "perl-base", "sed"}

// toolDir is where the programs are mounted. It is short, as the path of the
// dynamic loader in a program is overwritten in place.
const toolDir = "/run/.cfb"

// errNoRoom: the loader's path does not fit.
var errNoRoom = errors.New("no room for the loader's path")

// native gives the mounts that let a foreign root's scripts run natively, or none
// where that cannot be: it makes the step faster and never decides its result.
func (d *debs) native(ctx context.Context, r bootstrap.Request, set selection, suites []*archive.Suite) ([]pipelines.Mount, error) {
	if r.Helper == (pipelines.Platform{}) || r.Helper == r.Platform {
		return nil, nil
	}
	arch, err := archive.Architecture(r.Helper)
	if err != nil {
		return nil, nil
	}
	if sources := splitArchive(r.Op.Sources, arch); sources != nil {
		// Another archive, which may be out of reach where this one is not.
		r.Op.Sources = sources
		mounts, err := d.nativeOf(ctx, r, arch, set, nil)
		if err != nil && ctx.Err() == nil {
			r.Sink("native").Send(pipelines.Event{Kind: pipelines.EventWarning, Text: fmt.Sprintf("programs of this machine's architecture are not used, which is slower: %v", err)})
			return nil, nil
		}
		return mounts, err
	}
	return d.nativeOf(ctx, r, arch, set, suites)
}

// splitArchive gives the sources that have an architecture where a distribution
// keeps its architectures in two archives: Ubuntu's for amd64 and i386, its ports for
// the others. Nil: those that there are will do.
func splitArchive(sources []pipelines.PackageSource, arch string) []pipelines.PackageSource {
	out, changed := slices.Clone(sources), false
	for i, s := range out {
		want := s.Repository
		switch {
		case want == "ubuntu-ports" && (arch == "amd64" || arch == "i386"):
			want = "ubuntu"
		case want == "ubuntu" && arch != "amd64" && arch != "i386":
			want = "ubuntu-ports"
		}
		if want != s.Repository {
			if len(s.Mirrors) > 0 {
				return nil // the definition names the place itself
			}
			out[i].Repository, changed = want, true
		}
	}
	if !changed {
		return nil
	}
	return out
}

// nativeOf makes the mounts from suites that are open, or opens them.
func (d *debs) nativeOf(ctx context.Context, r bootstrap.Request, arch string, set selection, suites []*archive.Suite) ([]pipelines.Mount, error) {
	if suites == nil {
		var err error
		if suites, err = d.open(ctx, r); err != nil {
			return nil, err
		}
	}
	if !slices.Contains(suites[0].Release.Architectures, arch) {
		return nil, nil // not an architecture of this archive
	}
	has := func(name string) bool {
		return slices.ContainsFunc(set.Packages, func(p chosenPackage) bool { return p.Name == name })
	}
	if !has("dash") || !has("perl-base") || !has("libc6") {
		return nil, nil // not a root these programs belong in
	}
	r.Platform = r.Helper
	r.Op.Variant, r.Op.Include, r.Op.Exclude = "essential", nil, nil
	tools, err := d.choose(ctx, r, arch, suites)
	if err != nil {
		return nil, err
	}
	tools.Native = true
	tools.Packages = slices.DeleteFunc(tools.Packages, func(p chosenPackage) bool {
		return !slices.Contains(toolPackages, p.Name) && !strings.HasPrefix(p.Name, "lib") && p.Name != "zlib1g" || p.Architecture == "all"
	})
	root, err := d.root(ctx, r, tools)
	if errors.Is(err, errNoRoom) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("native tools: %w", err)
	}
	img := pipelines.From(r.Platform, pipelines.Layout{Path: root.Layout, Digest: root.Digest})
	shell := "/bin/dash"
	if set.MergedUsr {
		shell = "/usr/bin/dash"
	}
	mounts := []pipelines.Mount{
		{From: img, Src: "/bin", Target: toolDir},
		{From: img, Src: "/lib", Target: "/usr/lib/" + triplet(arch)},
		{From: img, Src: "/bin/dash", Target: shell},
	}
	// With all of perl in the root, scripts may use modules with machine code
	// of its own architecture.
	if !has("perl") {
		mounts = append(mounts, pipelines.Mount{From: img, Src: "/bin/perl", Target: "/usr/bin/perl"})
	}
	return mounts, nil
}

// triplet is the directory of an architecture's libraries (Debian policy 9.1.1,
// multiarch).
func triplet(arch string) string {
	switch arch {
	case "amd64":
		return "x86_64-linux-gnu"
	case "arm64":
		return "aarch64-linux-gnu"
	case "armhf":
		return "arm-linux-gnueabihf"
	case "armel":
		return "arm-linux-gnueabi"
	case "i386":
		return "i386-linux-gnu"
	case "ppc64el":
		return "powerpc64le-linux-gnu"
	}
	return arch + "-linux-gnu"
}

// nativeTools takes the tar of a root and writes that of the tools: programs in
// bin/, the dynamic loader beside them, libraries and perl's own modules in lib/.
// Close the writer, then wait.
func nativeTools(arch string, w io.Writer) (in *io.PipeWriter, wait func() error) {
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := filterTools(arch, pr, w)
		pr.CloseWithError(err) // nil: the rest of the input, if any, is refused
		done <- err
	}()
	return pw, func() error { return <-done }
}

func filterTools(arch string, r io.Reader, w io.Writer) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	made := map[string]bool{}
	dir := func(name string) error {
		if made[name] {
			return nil
		}
		made[name] = true
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, Format: tar.FormatPAX})
	}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return err
		}
		name, link := toolPath(arch, h.Name), h.Linkname
		if name == "" || h.Typeflag == tar.TypeDir {
			continue
		}
		if h.Typeflag == tar.TypeLink {
			if link = toolPath(arch, link); link == "" {
				continue
			}
		}
		for i := range name {
			if name[i] == '/' {
				if err := dir(name[:i]); err != nil {
					return err
				}
			}
		}
		var body []byte
		if h.Typeflag == tar.TypeReg {
			if body, err = io.ReadAll(in); err != nil {
				return err
			}
		}
		if strings.HasPrefix(name, "bin/") {
			if body, err = withLoader(body); err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
		}
		if err := writeTool(out, h, name, link, body); err != nil {
			return err
		}
		if isLoader(path.Base(name)) && h.Typeflag == tar.TypeReg {
			if err := dir("bin"); err != nil {
				return err
			}
			if err := writeTool(out, h, "bin/ld", "", body); err != nil {
				return err
			}
		}
	}
}

func writeTool(out *tar.Writer, h *tar.Header, name, link string, body []byte) error {
	err := out.WriteHeader(&tar.Header{Typeflag: h.Typeflag, Name: name, Linkname: link, Mode: h.Mode & 0o755,
		Size: int64(len(body)), ModTime: h.ModTime, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	_, err = out.Write(body)
	return err
}

// isLoader tells glibc's dynamic loader by its name: ld-linux-x86-64.so.2,
// ld-2.31.so (with links to it under the other names), ld64.so.2.
func isLoader(name string) bool {
	return strings.HasPrefix(name, "ld-") && strings.Contains(name, ".so") || strings.HasPrefix(name, "ld64.so")
}

// toolPath is where a file of the root goes, "" for nowhere.
func toolPath(arch, name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	usr := strings.TrimPrefix(name, "usr/")
	if rest, ok := strings.CutPrefix(usr, "bin/"); ok && !strings.Contains(rest, "/") {
		return usr
	}
	rest, ok := strings.CutPrefix(usr, "lib/"+triplet(arch)+"/")
	switch {
	case !ok:
		return ""
	case strings.HasPrefix(rest, "perl-base/"), !strings.Contains(rest, "/") && strings.Contains(rest, ".so"):
		return "lib/" + rest
	}
	return ""
}

// withLoader names the loader in toolDir in a dynamic program (ELF, PT_INTERP).
// Anything else is left as it is.
func withLoader(b []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return b, nil // a script
	}
	const loader = toolDir + "/ld"
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz < uint64(len(loader)+1) || p.Off+p.Filesz > uint64(len(b)) {
			return nil, errNoRoom
		}
		field := b[p.Off : p.Off+p.Filesz]
		clear(field)
		copy(field, loader)
	}
	return b, nil
}
