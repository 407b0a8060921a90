package rpm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
)

// TestMend: whatever the time, rpm's database has the epoch in the end. The real rpm
// writes it out, runs the script and reads it in again.
func TestMend(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, r := range []rpmrepo.RPM{{Name: "a", Files: []rpmrepo.File{rpmrepo.Regular("/a", "a")}}, {Name: "b", Requires: []string{"a"}}} {
		f := filepath.Join(dir, r.Name+".rpm")
		if err := os.WriteFile(f, r.Build(t), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	run := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(testneed.Program(t, program), args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "SOURCE_DATE_EPOCH=1234567890"}
		if args[0] == "--justdb" {
			cmd.Env = cmd.Env[:2] // as with a rpm that does not know the variable
		}
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, errs.String())
		}
		return string(out)
	}
	old, fresh, dump := filepath.Join(dir, "old"), filepath.Join(dir, "new"), filepath.Join(dir, "dump")
	run("rpm", append([]string{"--justdb", "--dbpath", old, "-i", "--nosignature", "--noscripts"}, files...)...)
	const times = "%{NAME} %{INSTALLTIME} %{INSTALLTID}\n"
	if got := run("rpm", "--dbpath", old, "-qa", "--qf", times); strings.Contains(got, "1234567890") {
		t.Fatalf("before: %s", got)
	}
	if err := os.WriteFile(dump, []byte(run("rpmdb", "--dbpath", old, "--exportdb")), 0o600); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "mend.lua")
	if err := os.WriteFile(script, []byte(strings.ReplaceAll(mendLua, "/cfbuild/db", dump)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run("rpm", "--eval", `%{lua:dofile("`+script+`")}`); strings.TrimSpace(got) != "ok" {
		t.Fatal(got)
	}
	in, err := os.Open(dump)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := exec.Command("rpmdb", "--dbpath", fresh, "--importdb")
	cmd.Stdin = in
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := run("rpm", "--dbpath", fresh, "-qa", "--qf", times)
	if !strings.Contains(got, "a 1234567890 1234567890\n") || !strings.Contains(got, "b 1234567890 1234567890\n") {
		t.Errorf("after: %s", got)
	}
	if got := run("rpm", "--dbpath", fresh, "-ql", "a"); got != "/a\n" {
		t.Errorf("files: %s", got)
	}
	// Something else is said to be that.
	if err := os.WriteFile(dump, []byte("this is no dump of a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run("rpm", "--eval", `%{lua:dofile("`+script+`")}`); !strings.Contains(got, "no header at 1") {
		t.Error(got)
	}
}
