package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/cfbuild/cfbuild/cmd/cli/progress"
)

// overlayScript mounts an overlay on a tmpfs of its own and writes through it.
const overlayScript = `set -e
mount -t tmpfs none "$1"
mkdir "$1/lower" "$1/upper" "$1/work" "$1/merged"
mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work$2" overlay "$1/merged"
echo x > "$1/merged/x"`

// overlay mounts one, in namespaces of its own, so that nothing is left behind.
func (m *machine) overlay(ctx context.Context) []Check {
	c := Check{Area: areaStorage, Name: "overlay", Status: OK, Text: "native overlay mounts work"}
	sh, mount := m.program("sh"), m.program("mount")
	if sh == "" || mount == "" {
		c.Status, c.Text = Warning, "not tried: sh or mount is not installed"
		return []Check{c}
	}
	dir, err := os.MkdirTemp("", "cfbuild-doctor-")
	if err != nil {
		c.Status, c.Text = Failed, err.Error()
		return []Check{c}
	}
	defer os.RemoveAll(dir)
	root := m.UID == 0 && m.administrator()
	options := ",userxattr"
	if root {
		options = ""
	}
	cmd := exec.CommandContext(ctx, sh, "-c", overlayScript, "sh", dir, options)
	inNamespace(cmd, m.UID, os.Getgid())
	if root {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	if err := try(cmd); err != nil {
		c.Status, c.Text = Failed, "an overlay cannot be mounted: "+err.Error()
		c.Fix = []string{"kernel 5.11 or newer lets user namespaces mount overlays; with fuse-overlayfs it is slower: sudo apt-get install fuse-overlayfs"}
		if m.container() {
			c.Fix = append(m.runnerFix(), "keep the state directory off overlay: --state-dir on a volume")
		}
	}
	return []Check{c}
}

// fuse is the second choice where overlays cannot be mounted.
func (m *machine) fuse(context.Context) []Check {
	c := Check{Area: areaStorage, Name: "fuse", Status: OK, Text: "/dev/fuse can be opened, fuse-overlayfs is installed"}
	f, err := os.OpenFile(m.path("/dev/fuse"), os.O_RDWR, 0)
	if err != nil {
		c.Status, c.Text = Warning, fmt.Sprintf("%v; only needed where native overlay does not work", err)
		switch {
		case m.container():
			c.Fix = []string{"GitLab runner, config.toml, [runners.docker]: devices = [\"/dev/fuse\"]", "docker or podman: --device /dev/fuse"}
		case os.IsPermission(err):
			c.Fix = []string{"sudo chmod 666 /dev/fuse"}
		default:
			c.Fix = []string{"sudo modprobe fuse"}
		}
		return []Check{c}
	}
	f.Close()
	if m.program("fuse-overlayfs") == "" {
		c.Status, c.Text = Warning, "fuse-overlayfs is not installed; only needed where native overlay does not work"
		c.Fix = []string{"sudo apt-get install fuse-overlayfs"}
	}
	return []Check{c}
}

// Bounds of free disk space, in bytes: one Debian image takes about 300 MB while
// it is built, several platforms a few GB.
const (
	tooLittle = 1e9
	little    = 5e9
)

// disk looks at the file systems things are written to.
func (m *machine) disk(context.Context) []Check {
	var out []Check
	seen := map[uint64]bool{}
	for _, d := range append([]string{m.StateDir}, m.Dirs...) {
		at := d
		var st os.FileInfo
		var err error
		for { // the nearest directory that is there
			if st, err = os.Stat(at); err == nil || at == filepath.Dir(at) {
				break
			}
			at = filepath.Dir(at)
		}
		if err != nil {
			continue
		}
		dev := uint64(st.Sys().(*syscall.Stat_t).Dev)
		if seen[dev] {
			continue
		}
		seen[dev] = true
		var fs syscall.Statfs_t
		c := Check{Area: areaDisk, Name: d, Status: OK}
		if err := syscall.Statfs(at, &fs); err != nil {
			c.Status, c.Text = Warning, err.Error()
			out = append(out, c)
			continue
		}
		free := int64(fs.Bavail) * int64(fs.Bsize)
		c.Text = progress.Bytes(free) + " free"
		switch {
		case free < tooLittle:
			c.Status = Failed
		case free < little:
			c.Status = Warning
		}
		if fs.Files > 0 && fs.Ffree < 50000 {
			c.Status, c.Text = Failed, fmt.Sprintf("%s, but only %d inodes", c.Text, fs.Ffree)
		}
		if c.Status != OK {
			c.Fix = []string{"cfbuild cache prune", "or name a directory with more room: --state-dir DIR"}
		}
		if access(at) != nil {
			c.Status, c.Text = Failed, at+" cannot be written"
			c.Fix = []string{"name a directory of yours: --state-dir DIR, --output DIR"}
		}
		out = append(out, c)
	}
	return out
}

func access(dir string) error { return syscall.Access(dir, 2 /* W_OK */) }
