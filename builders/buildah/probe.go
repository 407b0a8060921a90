//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

// probe finds out what this machine can do by doing it.
func (c *child) probe(ctx context.Context) (builders.Capabilities, error) {
	st, err := openStore(ctx, c.opt)
	if err != nil {
		return builders.Capabilities{}, err
	}
	defer st.close()
	caps := builders.Capabilities{Available: true, NetworkNone: true, Secrets: true, CacheMounts: true, Roots: true, Xattrs: true, Links: true, Sysfs: true, Detail: st.notes}
	isolation := "isolation: chroot"
	if c.opt.Isolation == isolationRunc {
		path, err := exec.LookPath("runc")
		if err != nil {
			return builders.Capabilities{}, &builders.UnavailableError{Builder: Name, Reason: "isolation runc: runc is not installed",
				Fix: "as root: apt-get install runc (dnf install runc), or use isolation chroot, which needs nothing"}
		}
		isolation = "isolation: runc (" + path + ")"
	}
	who := "privileges: root"
	if rootless() {
		who = "privileges: a user namespace"
	}
	caps.Detail = append(caps.Detail, isolation, who)
	emu := newEmulation(st.run)
	emu.find(slices.Collect(maps.Keys(arches))...)
	for _, name := range slices.Sorted(maps.Keys(arches)) {
		p, err := pipelines.ParsePlatform(name)
		if err != nil {
			continue
		}
		all := []pipelines.Platform{p}
		if name == "arm" { // one emulator for all of its variants
			all = nil
			for _, v := range []string{"v5", "v6", "v7"} {
				all = append(all, pipelines.Platform{OS: "linux", Architecture: "arm", Variant: v})
			}
		}
		if native(p) {
			if emu.known[name].err == nil {
				caps.Platforms = append(caps.Platforms, all...)
			}
			continue
		}
		var sc stageConfig
		emulated, err := emu.prepare(pipelines.Node{Platform: p}, &sc)
		if err != nil {
			continue
		}
		caps.Platforms = append(caps.Platforms, all...)
		if emulated {
			caps.Emulated = append(caps.Emulated, all...)
		}
	}
	switch {
	case len(caps.Emulated) == 0:
		caps.Detail = append(caps.Detail, "emulation: none (apt-get install qemu-user-static)")
	case emu.private():
		caps.Detail = append(caps.Detail, fmt.Sprintf("emulation: %d platforms, registered for each step in a user namespace of its own", len(caps.Emulated)))
	default:
		caps.Detail = append(caps.Detail, fmt.Sprintf("emulation: %d platforms, registered by the machine", len(caps.Emulated)))
	}
	return caps, nil
}

// private: emulators are registered by us.
func (e *emulation) private() bool {
	for _, k := range e.known {
		if k.err == nil && k.lines != nil {
			return true
		}
	}
	return false
}
