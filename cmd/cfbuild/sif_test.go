//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/internal/squashfs"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// sifs makes signed SIF files of a target that w has built, and real Apptainer uses
// them: as root, when the kernel mounts them, and as a user, with squashfuse.
func sifs(t *testing.T, w *world, target, version string) {
	t.Helper()
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-aarch64"); err != nil {
		testneed.Skip(t, "needs binfmt_misc for arm64 (make setup registers it)")
	}
	user := testneed.User(t)
	key, public := filepath.Join(w.dir, "sif.pem"), filepath.Join(w.dir, "sif.pub")
	writeKey(t, key, public)
	w.run(target, "--platform", both, "--format", "sif", "--sif-compression", "zstd", "--sif-sign", key)
	if err := os.Chmod(w.dir, 0o755); err != nil { // the user reads the files
		t.Fatal(err)
	}
	for arch, machine := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		image := filepath.Join(w.dir, "out", target+"-"+arch+".sif")
		for _, who := range []*testneed.Account{nil, &user} {
			// A user's namespace has the user alone; the owners are in the file all the same.
			// What is mounted below the root is seen where Apptainer works.
			options := []string{"--bind", filepath.Join(filepath.Dir(program), "../var/lib/apptainer/mnt") + ":/mnt"}
			mounted, owner := " fuse.squashfuse", "nobody:nogroup:640"
			if who == nil {
				// Containers have no CAP_SYS_RESOURCE, which root's Apptainer asks for.
				mounted, owner, options = " squashfs /dev/loop", "root:shadow:640", append(options, "--no-privs")
			}
			says := func(stdin string, command string, args []string, after ...string) string {
				t.Helper()
				out, err := apptainerAs(t, who, stdin, program, slices.Concat([]string{"-q", command}, args, []string{image}, after)...)
				if err != nil {
					t.Errorf("%s %s: %v\n%s", command, image, err, out)
				}
				return out
			}
			const look = "cat /etc/debian_version; uname -m; stat -c %U:%G:%a /etc/shadow; grep /rootfs /proc/self/mountinfo\n"
			for how, out := range map[string]string{"exec": says("", "exec", options, "sh", "-c", look), "run": says("", "run", options, "sh", "-c", look),
				"shell": says(look, "shell", options)} {
				for _, want := range []string{version, machine, owner, mounted} {
					if !strings.Contains(out, want) {
						t.Errorf("%s %s as %v lacks %q:\n%s", how, image, who, want, out)
					}
				}
			}
			says("", "test", options)
			if all := says("", "inspect", []string{"--all"}); !strings.Contains(all, `"org.label-schema.build-arch": "`+arch+`"`) || !strings.Contains(all, "10-docker2singularity.sh") {
				t.Errorf("inspect --all %s:\n%s", image, all)
			}
			says("", "verify", []string{"--key", public})
		}
	}
}

// writeKey makes a key of ECDSA.
func writeKey(t *testing.T, secret, public string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	open, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{secret: {Type: "PRIVATE KEY", Bytes: private}, public: {Type: "PUBLIC KEY", Bytes: open}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// apptainerAs runs Apptainer as root or as a user.
func apptainerAs(t *testing.T, user *testneed.Account, stdin, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdin = "/", strings.NewReader(stdin)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	if user != nil {
		cmd.Env[1] = "HOME=" + user.Home
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user.UID), Gid: uint32(user.GID)}}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// sameTree compares a SIF that w has made with what root's apptainer build makes of
// the same image, file by file. testdata/sif-differences lists what differs, and why.
func sameTree(t *testing.T, w *world, target string) {
	t.Helper()
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	dir := filepath.Join(w.dir, "theirs")
	w.run(target, "--platform", "linux/amd64", "--output", dir)
	archive, theirs := filepath.Join(dir, "image.tar"), filepath.Join(dir, "theirs.sif")
	tool(t, "tar", "-C", filepath.Join(dir, target), "-cf", archive, "oci-layout", "index.json", "blobs")
	cmd := exec.Command(program, "build", "--mksquashfs-args", "-comp zstd -Xcompression-level 1", theirs, "oci-archive:"+archive)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "APPTAINER_CACHEDIR=" + dir}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apptainer build: %v\n%s", err, out)
	}
	got, want := describe(t, filepath.Join(w.dir, "out", target+"-amd64.sif")), describe(t, theirs)
	if len(want) < 4000 {
		t.Fatalf("%d entries", len(want))
	}
	known, err := os.ReadFile("testdata/sif-differences")
	if err != nil {
		t.Fatal(err)
	}
	excused, used := map[string]string{}, map[string]bool{}
	for line := range strings.Lines(string(known)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] != "#" {
			excused[f[0]] = f[1]
		}
	}
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		for what, g := range map[string]string{"attributes": got[p].attributes, "content": got[p].content, "time": got[p].time} {
			w := map[string]string{"attributes": want[p].attributes, "content": want[p].content, "time": want[p].time}[what]
			if g == w {
				continue
			}
			explained := false
			for pattern, parts := range excused {
				if ok, _ := filepath.Match(pattern, p); ok && strings.Contains(parts, what) {
					explained, used[pattern+" "+what] = true, true
				}
			}
			if !explained {
				t.Errorf("%s: %s\n got %s\nwant %s", p, what, g, w)
			}
		}
	}
	for pattern, parts := range excused {
		for part := range strings.SplitSeq(parts, ",") {
			if !used[pattern+" "+part] {
				t.Errorf("testdata/sif-differences: %s: %s no longer differs", pattern, part)
			}
		}
	}
}

// described is all there is to know of an entry. Directories and links have no time
// here: Apptainer unpacks them anew.
type described struct{ attributes, content, time string }

// describe says all of each entry in a SIF's file system.
func describe(t *testing.T, path string) map[string]described {
	t.Helper()
	i, err := sif.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	q, err := i.FS()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]described{}
	err = q.Walk(func(n *squashfs.Node) error {
		var content, at string
		s := fmt.Sprintf("%v %d:%d links %d", n.Mode, n.UID, n.GID, n.Links)
		switch {
		case n.Mode.IsRegular():
			sum := sha256.New()
			if _, err := io.Copy(sum, q.Content(n)); err != nil {
				return err
			}
			content, at = fmt.Sprintf("%d bytes %x", n.Size, sum.Sum(nil)), fmt.Sprint(n.ModTime.Unix())
		case n.Mode.IsDir():
			s = fmt.Sprintf("%v %d:%d", n.Mode, n.UID, n.GID)
		case n.Mode&fs.ModeSymlink != 0:
			s += " -> " + n.Target
		case n.Mode&fs.ModeDevice != 0:
			s += fmt.Sprintf(" %d,%d", n.Major, n.Minor)
		}
		for _, name := range slices.Sorted(maps.Keys(n.Xattrs)) {
			s += fmt.Sprintf(" %s=%x", name, bytes.TrimRight(n.Xattrs[name], "\x00"))
		}
		out[n.Path] = described{s, content, at}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
