package sif

import (
	"archive/tar"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// apptainer gives the real one.
func apptainer(t *testing.T) string {
	t.Helper()
	return testneed.Apptainer(t, "../../scripts/apptainer")
}

// busybox is an image that can run, with what conversions like to lose.
func busybox(t *testing.T) (c v1.Image, layers [][]byte) {
	t.Helper()
	raw, err := os.ReadFile(testneed.Program(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	bin := reg("bin/busybox", string(raw))
	bin.Mode = 0o755
	first := []entry{dir("bin"), bin, dir("etc"), reg("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), reg("etc/group", "root:x:0:\n"),
		dir("tmp"), dir("srv"), reg("srv/gone", "gone"), reg("etc/hostname", "builder\n")}
	for _, name := range []string{"sh", "id", "cat", "echo", "env", "test", "ls", "uname"} {
		first = append(first, entry{Header: tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox", ModTime: stamp}})
	}
	mail := reg("srv/mail", "mail")
	mail.Mode, mail.Uid, mail.Gid = 0o2755, 8, 12
	capable := reg("srv/ping", "ping")
	capable.Mode = 0o755
	capable.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	sticky := dir("tmp")
	sticky.Mode = 0o1777
	second := []entry{reg("srv/.wh.gone", ""), mail, capable, sticky,
		{Header: tar.Header{Name: "srv/mail2", Typeflag: tar.TypeLink, Linkname: "srv/mail"}}}
	c.Config = v1.ImageConfig{Env: []string{"PATH=/bin", `GREETING=it's a "test" $HERE`}, Entrypoint: []string{"/bin/echo", "$entry"}, Cmd: []string{"default words"},
		Labels: map[string]string{"org.opencontainers.image.title": "busybox"}}
	return c, [][]byte{archive(t, first), archive(t, second)}
}

// as runs a program as root or as an ordinary user and gives what it printed.
func as(t *testing.T, user *testneed.Account, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdin = "/", strings.NewReader("echo hello")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if user != nil {
		cmd.Env = append(os.Environ(), "HOME="+user.Home, "USER="+user.Name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user.UID), Gid: uint32(user.GID)}}
	}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, said.String())
	}
	return string(out)
}

// shared is a directory that other users can read.
func shared(t *testing.T) string {
	t.Helper()
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for p := open; p != "/"; p = filepath.Dir(p) {
		if st, err := os.Stat(p); err == nil && st.Mode()&0o005 != 0o005 {
			if err := os.Chmod(p, st.Mode()|0o055); err != nil {
				t.Fatal(err)
			}
		}
	}
	return open
}

func TestRealApptainerRunsIt(t *testing.T) {
	program := apptainer(t)
	user := testneed.User(t)
	c, layers := busybox(t)
	l, d := image(t, c, layers...)
	open := shared(t)
	t.Log(as(t, nil, program, "version"))
	for _, o := range []Options{{Test: "#!/bin/sh\necho tested\n", Help: "help yourself\n"}, {Compression: 6, Test: "#!/bin/sh\necho tested\n", Help: "help yourself\n"}} {
		path, _ := converted(t, l, d, o)
		moved := filepath.Join(open, "image.sif")
		if err := os.Rename(path, moved); err != nil {
			t.Fatal(err)
		}
		for _, who := range []*testneed.Account{nil, &user} {
			run := func(want string, command string, args ...string) {
				t.Helper()
				if who == nil && command != "inspect" && command != "run-help" {
					args = append([]string{"--no-privs"}, args...)
				}
				got := as(t, who, program, append([]string{"-q", command}, args...)...)
				if got != want {
					t.Errorf("%s %q: %q, want %q", command, args, got, want)
				}
			}
			run("it's a \"test\" $HERE\n", "exec", moved, "/bin/sh", "-c", `echo "$GREETING"`)
			run("$entry default words\n", "run", moved)
			run("$entry other\n", "run", moved, "other")
			run("hello\n", "shell", moved) // it takes no -c
			run("tested\n", "test", moved)
			run("help yourself\n", "run-help", moved)
			all := as(t, who, program, "inspect", "--all", moved)
			for _, want := range []string{`"org.opencontainers.image.title": "busybox"`, "10-docker2singularity.sh", "bootstrap: docker", "default words"} {
				if !strings.Contains(all, want) {
					t.Errorf("inspect --all lacks %q:\n%s", want, all)
				}
			}
		}
	}
}

// What real Apptainer makes of the same image, as root in a user namespace that maps
// every owner to itself.
func TestSameTreeAsRealApptainer(t *testing.T) {
	program := apptainer(t)
	c, layers := busybox(t)
	l, d := image(t, c, layers...)
	dir := t.TempDir()
	archive, theirs := filepath.Join(dir, "image.tar"), filepath.Join(dir, "theirs.sif")
	if out, err := exec.Command("tar", "-C", l.Dir(), "-cf", archive, "oci-layout", "index.json", "blobs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, "build", theirs, "oci-archive:"+archive)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("apptainer build: %v\n%s", err, out)
	}
	ours, _ := converted(t, l, d, Options{})
	got, want := tree(t, ours), tree(t, theirs)
	for _, p := range slices.Sorted(maps.Keys(want)) {
		g, w := got[p], want[p]
		if g == nil {
			t.Errorf("%s is missing", p)
			continue
		}
		delete(got, p)
		// Scripts have other words; what Apptainer wrote has the time of that.
		if strings.HasPrefix(p, ".singularity.d") {
			g.Size = w.Size
		}
		if g.Mode != w.Mode || g.UID != w.UID || g.GID != w.GID || g.Size != w.Size || g.Target != w.Target || g.HardLink != w.HardLink ||
			!maps.EqualFunc(g.Xattrs, w.Xattrs, slices.Equal[[]byte]) {
			t.Errorf("%s:\n got %v %d:%d %d bytes, %q %q %q\nwant %v %d:%d %d bytes, %q %q %q", p,
				g.Mode, g.UID, g.GID, g.Size, g.Target, g.HardLink, g.Xattrs, w.Mode, w.UID, w.GID, w.Size, w.Target, w.HardLink, w.Xattrs)
		}
		if g.Mode.IsRegular() && strings.HasPrefix(p, "srv/") && !g.ModTime.Equal(w.ModTime) {
			t.Errorf("%s: %v, want %v", p, g.ModTime, w.ModTime)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(got)) {
		t.Errorf("%s: Apptainer has none", p)
	}
	a, err := Open(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i := range b.Objects {
		g, w := a.Objects[i], b.Objects[i]
		if g.Type != w.Type || g.Name != w.Name || g.Group != w.Group || g.FileSystem != w.FileSystem || g.Arch != w.Arch {
			t.Errorf("object %+v, want %+v", g, w)
		}
	}
	if len(a.Objects) != len(b.Objects) || a.Arch != b.Arch {
		t.Errorf("%d objects for %s, want %d for %s", len(a.Objects), a.Arch, len(b.Objects), b.Arch)
	}
}
