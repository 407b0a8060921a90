package apptainer_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/apptainer"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
)

const (
	asUser       = "CFBUILD_TEST_AS_USER" // the state directory
	userProgram  = "CFBUILD_TEST_APPTAINER"
	userFinished = "the user's build is as it should be"
)

// An ordinary user with subordinate ids builds too, and owners are kept.
func TestUser(t *testing.T) {
	testneed.Root(t)
	user := testneed.User(t)
	program := testneed.Apptainer(t, "../../scripts/apptainer")
	dir, err := os.MkdirTemp("", "user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, user.UID, user.GID); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=TestHelperUser", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, asUser + "=" + dir, userProgram + "=" + program}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user.UID), Gid: uint32(user.GID)}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), userFinished) {
		t.Errorf("%v\n%s", err, out)
	}
	left, err := os.ReadDir(dir + "/builds")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestHelperUser(t *testing.T) {
	dir := os.Getenv(asUser)
	if dir == "" {
		return
	}
	b, err := apptainer.Backend().Open(t.Context(), builders.Options{Address: os.Getenv(userProgram), StateDir: dir, Log: testLog{t}})
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := build(t, b, box(t).Then(pipelines.File{Path: "/theirs", Data: []byte("x"), Owner: "42:43", Mode: 0o4755}).
		Then(pipelines.Run{Shell: "touch /mine /tmp/x; chown 5:6 /mine; test -e /theirs", Network: pipelines.NetworkNone}), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := paths(t, out)
	for path, owner := range map[string][2]int{"/theirs": {42, 43}, "/mine": {5, 6}, "/bin/busybox": {0, 0}} {
		if e := got[path]; e == nil || e.UID != owner[0] || e.GID != owner[1] {
			t.Errorf("%s: %+v, want %v", path, e, owner)
		}
	}
	if e := got["/theirs"]; e == nil || e.Mode != 0o4755 {
		t.Errorf("%+v", e)
	}
	if !t.Failed() {
		t.Log(userFinished)
	}
}
