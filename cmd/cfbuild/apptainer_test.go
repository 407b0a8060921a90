//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/imagetest"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The same definition goes two ways: plain Apptainer builds what show --as def prints,
// with its own bootstrap agents and without this program; and this program has Apptainer
// build what it bootstrapped. The target's tests pass on both.
func TestApptainerBuilds(t *testing.T) {
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	w := newWorld(t, nil)
	_, rpmSite := rpmMirror(t)
	for _, c := range []struct {
		target, agent, site string
		tests               int
	}{
		{"debian12", "debootstrap", frozenSite(t), 20},
		{"centos9", "dnf", rpmSite(w.dir), 15},
	} {
		t.Run(c.target, func(t *testing.T) {
			testneed.Program(t, c.agent)
			rep := w.run(c.target, "--site", c.site, "--platform", "linux/amd64", "--builder", "apptainer:"+program, "--format", "sif,oci", "--test")
			if len(rep.Tests) != 1 || len(rep.Tests[0].Results) < c.tests {
				t.Errorf("tests of ours: %+v", rep.Tests)
			}
			own := filepath.Join(w.dir, "out", c.target+"-amd64.sif")
			if out, err := apptainerAs(t, nil, "", program, "-q", "run", "--no-privs", own, "sh", "-c", "echo ran"); err != nil || !strings.Contains(out, "ran") {
				t.Errorf("run: %v %s", err, out)
			}
			if again := w.run(c.target, "--site", c.site, "--platform", "linux/amd64", "--builder", "apptainer:"+program, "--format", "sif"); !again.Artifacts[0].Cached {
				t.Error("built again")
			}

			cmd := w.start("show", c.target, "--as", "def", "--platform", "linux/amd64", "--site", c.site)
			def, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			file := plainApptainer(t, program, c.target, def)
			s, err := site.Load(c.site, site.LoadOptions{Getenv: os.Getenv, Now: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			testSIF(t, w, s, program, c.target, file)
		})
	}
}

// testSIF runs the tests of a target on a SIF file that plain Apptainer made.
func testSIF(t *testing.T, w *world, s site.Site, program, target, file string) {
	t.Helper()
	i, err := sif.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	attributes, err := i.Attributes()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for k, v := range attributes["labels"].(map[string]any) {
		labels[k] = fmt.Sprint(v)
	}
	out, err := apptainerAs(t, nil, "", program, "-q", "exec", "--no-privs", "--cleanenv", "--no-home", file, "env")
	if err != nil {
		t.Fatalf("exec: %v\n%s", err, out)
	}
	var env []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "PATH=") || strings.HasPrefix(line, "LC_ALL=") {
			env = append(env, line)
		}
	}
	amd64 := pipelines.Platform{OS: "linux", Architecture: "amd64"}
	now := time.Now()
	layout := filepath.Join(w.dir, "plain-"+target)
	d, err := sif.Layout(t.Context(), file, layout, v1.Image{Created: &now, Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Config: v1.ImageConfig{Env: env, Labels: labels}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := buildah.Backend().Open(t.Context(), builders.Options{StateDir: filepath.Join(w.dir, "state", "buildah")})
	if err != nil {
		t.Fatal(err)
	}
	tg, err := endToEnd().Pipeline(s).Target(target)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := imagetest.Run(t.Context(), imagetest.Request{Artifact: pipelines.Artifact{Job: target + "-plain", Target: target, Platform: amd64, Format: pipelines.FormatOCI, Path: layout,
		Digest: d.Digest.String(), Size: d.Size}, Tests: tg.Tests, Builder: b, Site: s, TempDir: w.dir, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.Results {
		if r.Outcome != imagetest.Passed {
			t.Errorf("plain Apptainer's %s: %s: %s %q\n%s", target, r.Name, r.Outcome, r.Problems, r.Output)
		}
	}
	if len(rep.Results) < 15 {
		t.Errorf("%d tests", len(rep.Results))
	}
}

// privately runs a command with mounts of its own: what Apptainer shows of the host in
// %post, and root's home, are empty there.
const privately = `set -eu
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p /mnt/work /mnt/tmp /mnt/cache /mnt/home /mnt/bin /mnt/app /mnt/dev/pts /mnt/dev/shm
mount --bind "$WORK" /mnt/work
mount --bind "$PREFIX" /mnt/app
for n in null zero full random urandom tty fuse; do
	[ ! -e /dev/$n ] || { touch /mnt/dev/$n; mount --bind /dev/$n /mnt/dev/$n; }
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts /mnt/dev/pts
ln -s pts/ptmx /mnt/dev/ptmx
ln -s /proc/self/fd /mnt/dev/fd
mount --rbind /mnt/dev /dev
for d in /tmp /var/tmp /root /home; do mount -t tmpfs -o mode=1777 tmpfs $d; done
# Debian's rpm keeps its database in the home directory.
printf '%%_var /var\n%%_dbpath %%{_var}/lib/rpm\n' >/mnt/home/.rpmmacros
# Root without CAP_SYS_RESOURCE, as in containers, cannot run %post: Apptainer calls itself
# for that, and is given a user namespace then. Agents are run as root outside, for mknod.
cat >/mnt/bin/inner <<'EOF'
#!/bin/sh
f=/mnt/tmp/fifo$$
mkfifo $f
unshare -U sh -c 'read x <"$0"; exec "$@"' $f /mnt/app/usr/bin/apptainer "$@" &
p=$!
until [ "$(readlink /proc/$p/ns/user)" != "$(readlink /proc/self/ns/user)" ]; do :; done
echo "0 0 65536" >/proc/$p/uid_map
echo "0 0 65536" >/proc/$p/gid_map
echo >$f
wait $p
EOF
for agent in dnf debootstrap; do
	printf '#!/bin/sh\n[ ! "$LACKS" ] || mount --bind /mnt/bin/inner "$PREFIX/usr/bin/apptainer"\nexec %s "$@"\n' "$(command -v $agent)" >/mnt/bin/$agent
done
chmod 755 /mnt/bin/*
cd /mnt/work
export HOME=/mnt/home TMPDIR=/mnt/tmp APPTAINER_TMPDIR=/mnt/tmp APPTAINER_CACHEDIR=/mnt/cache PATH=/mnt/bin:$PATH
exec "$PREFIX/usr/bin/apptainer" "$@"`

// plainApptainer builds a definition file and gives the SIF file.
func plainApptainer(t *testing.T, program, target string, def []byte) string {
	t.Helper()
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "def"), def, 0o644); err != nil {
		t.Fatal(err)
	}
	before := marks(t)
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", privately, "sh", "build", "--mksquashfs-args", "-comp gzip -Xcompression-level 1", target+".sif", "def")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "WORK=" + work, "PREFIX=" + strings.TrimSuffix(program, "/usr/bin/apptainer"), "LACKS=" + lacksResource(t)}
	started := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("apptainer build of %s: %v\n%s", target, err, out[max(0, len(out)-4000):])
	}
	t.Logf("plain apptainer built %s in %v", target, time.Since(started).Round(time.Second))
	for _, m := range before {
		if _, err := os.Stat(m); err != nil {
			t.Errorf("the build reached the host: %v", err)
		}
	}
	return filepath.Join(work, target+".sif")
}

// marks are files in what Apptainer shows of the host.
func marks(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{"/tmp", "/var/tmp"} {
		f, err := os.CreateTemp(dir, "cfbuild-mark-")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		t.Cleanup(func() { os.Remove(f.Name()) })
		out = append(out, f.Name())
	}
	return out
}

// lacksResource is empty where root has all capabilities.
func lacksResource(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "CapBnd:")
	var caps uint64
	if _, err := fmt.Sscanf(rest, "%x", &caps); err != nil {
		t.Fatal(err)
	}
	if caps>>24&1 == 1 { // CAP_SYS_RESOURCE
		return ""
	}
	return "yes"
}

// A builder that is not there says what to do without it.
func TestNoApptainer(t *testing.T) {
	w := newWorld(t, nil)
	_, stderr, code := w.try("run", "small", "--builder", "apptainer:"+filepath.Join(w.dir, "none"), "--format", "sif", "--site", frozenSite(t))
	if code != 4 || !strings.Contains(stderr, "Apptainer is not installed") || !strings.Contains(stderr, "--format sif makes SIF files without Apptainer") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
