package deffile_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/deffile"
	"github.com/cfbuild/cfbuild/pipelines"
)

func scratch() pipelines.Image { return pipelines.From(amd64, pipelines.Scratch{}) }
func pulled() pipelines.Image {
	return pipelines.From(amd64, pipelines.Pull{Ref: "quay.io/centos/centos:stream9"})
}

func lower(t *testing.T, i pipelines.Image, o deffile.Options) (deffile.Definition, error) {
	t.Helper()
	g, err := i.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return deffile.Lower(t.Context(), g, o)
}

func text(t *testing.T, i pipelines.Image, o deffile.Options) string {
	t.Helper()
	d, err := lower(t, i, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Text()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What definition files cannot say names the author's line and what to do.
func TestCannotBeSaid(t *testing.T) {
	for what, i := range map[string]pipelines.Image{
		"secrets":            pulled().Then(pipelines.Run{Shell: "x", Secrets: []pipelines.Secret{{ID: "token"}}}),
		"cache mounts":       pulled().Then(pipelines.Run{Shell: "x", Caches: []pipelines.CacheMount{{Target: "/c"}}}),
		"every step as root": pulled().Then(pipelines.Run{Shell: "x", User: "1000"}),
		"step as root":       pulled().Then(pipelines.Configure{User: "nobody"}).Then(pipelines.Run{Shell: "x"}),
		"host's while":       pulled().Then(pipelines.Run{Shell: "x", Mounts: []pipelines.Mount{{From: scratch(), Src: "/a", Target: "/tmp/b"}}}),
		"own root only":      pulled().Then(pipelines.Run{Shell: "x", Roots: []string{"/r"}}),
		"more than":          pulled().Then(pipelines.Run{Args: []string{"echo", strings.Repeat("a line\n", 10000)}}),
		"no bootstrap agent": pipelines.From(amd64, pipelines.Bootstrap{Method: "apk", Include: []string{"busybox"}, Sources: []pipelines.PackageSource{{Repository: "alpine", Suite: "v3", Mirrors: []string{"http://m"}}}}),
		"variant minbase":    pipelines.From(amd64, pipelines.Bootstrap{Method: "deb", Variant: "standard", Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "bookworm", Mirrors: []string{"http://m"}}}}),
		"exclude packages":   pipelines.From(amd64, pipelines.Bootstrap{Method: "deb", Exclude: []string{"perl"}, Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "bookworm", Mirrors: []string{"http://m"}}}}),
		"directories whole":  scratch().Then(pipelines.Copy{From: pipelines.From(amd64, pipelines.Local{Path: "/x", Exclude: []string{"*.o"}}), Src: []string{"/"}, Dst: "/"}),
		"a plain name":       pipelines.From(amd64, pipelines.Layout{Path: "/with space"}),
		"takes 2 repositories": pipelines.From(amd64, pipelines.Bootstrap{Method: "rpm", Include: []string{"bash"}, Sources: []pipelines.PackageSource{
			{Repository: "a", Suite: "9/a", Mirrors: []string{"http://m"}}, {Repository: "b", Suite: "9/b", Mirrors: []string{"http://m"}}, {Repository: "c", Suite: "9/c", Mirrors: []string{"http://m"}}}}),
	} {
		_, err := lower(t, i, deffile.Options{})
		var un *builders.UnsupportedError
		if !errors.As(err, &un) {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if !strings.Contains(err.Error()+un.Hint(), what) || !strings.Contains(err.Error(), "deffile/lower_test.go:") {
			t.Errorf("want %q and this line in: %v; hint: %s", what, err, un.Hint())
		}
	}
	_, err := lower(t, pipelines.From(amd64, pipelines.Bootstrap{Method: "deb", Sources: []pipelines.PackageSource{{Repository: "nowhere", Suite: "x"}}}), deffile.Options{})
	if !errors.Is(err, pipelines.ErrInvalid) || !strings.Contains(err.Error(), "no mirror") {
		t.Errorf("%v", err)
	}
}

// section gives what stands in sections of a name.
func section(s, name string) string {
	var out strings.Builder
	in := false
	for line := range strings.Lines(s) {
		if strings.HasPrefix(line, "%") || strings.HasPrefix(line, "Bootstrap:") {
			in = strings.TrimSpace(line) == "%"+name
			continue
		}
		if in {
			out.WriteString(line)
		}
	}
	return out.String()
}

// What Apptainer shows of the host in %post is never touched there.
func TestHostsPathsAreLeftAlone(t *testing.T) {
	for _, p := range []string{"/tmp", "/tmp/*", "/var/tmp/x", "/var/t*", "/var", "/v?r", "/*", "/dev/null", "/etc/hosts", "/etc/*", "/etc/resolv.conf", "/proc/x", "/[s-v]*"} {
		s := text(t, pulled().Then(pipelines.Remove{Paths: []string{p}}), deffile.Options{})
		if strings.Contains(section(s, "post"), "\ncf_remove ") || !strings.Contains(section(s, "setup"), "\ncf_remove ") {
			t.Errorf("%s:\n%s", p, s)
		}
	}
	for _, p := range []string{"/opt", "/tmpfile", "/var/cache/*", "/etc/hostname", "/var/lib/tmp", "/usr/*/tmp"} {
		s := text(t, pulled().Then(pipelines.Remove{Paths: []string{p}}), deffile.Options{})
		if !strings.Contains(section(s, "post"), "\ncf_remove ") || strings.Contains(section(s, "setup"), "\ncf_remove ") {
			t.Errorf("%s:\n%s", p, s)
		}
	}
	s := text(t, pulled().Then(pipelines.File{Path: "/etc/hosts", Data: []byte("x")}).Then(pipelines.File{Path: "/tmp/x", Data: []byte("x")}), deffile.Options{})
	if strings.Count(section(s, "setup"), "\ncf_file ") != 2 || strings.Contains(section(s, "post"), "cf_file /") {
		t.Error(s)
	}
	// With the image's own /tmp in sight, steps on it keep their place.
	s = text(t, pulled().Then(pipelines.Run{Shell: "touch /tmp/x"}).Then(pipelines.Remove{Paths: []string{"/tmp/*"}}), deffile.Options{OwnTmp: true})
	if post := section(s, "post"); strings.Index(post, "cf_remove /tmp") < strings.Index(post, "touch /tmp/x") {
		t.Error(s)
	}
}

// Text of authors never becomes a section, a stage or a variable, and is what a shell
// reads back.
func TestQuoting(t *testing.T) {
	for _, s := range []string{"plain\n", "%post\n rm -rf /", "a\n%setup\nb", "a\n  \t%setup", "x\nBootstrap: docker\nFrom: evil", "{{ X }} {{Y}} {{{ Z }}}", "it's '%s' \\n $HOME `id`\n",
		"cr\r\nlf\r", "\x00\x01\xff binary %s {{ x }} \\ '\n%post\nbootstrap: x", "", "-n", "ends without", "\n\n", "tab\tand ünï", strings.Repeat("0123456789abcdef\n", 12000), strings.Repeat("ü", 100000)} {
		i := pulled().Then(pipelines.File{Path: "/f", Data: []byte(s)})
		if strings.HasPrefix(s, "%") || strings.Contains(s, "\n") && len(s) < 1000 && !strings.Contains(s, "\x00") {
			i = i.Then(pipelines.Run{Shell: s}).Then(pipelines.Run{Args: []string{"echo", s}}).Then(pipelines.Configure{Env: map[string]string{"A": s}, Labels: map[string]string{"l": s}, Cmd: []string{s}})
		}
		out := text(t, i, deffile.Options{})
		for line := range strings.Lines(out) {
			if w := strings.Fields(line); len(w) > 0 && strings.HasPrefix(w[0], "%") && w[0] != "%post" && w[0] != "%setup" && w[0] != "%environment" && w[0] != "%runscript" && w[0] != "%labels" {
				t.Errorf("a section of the author's: %q", line)
			}
			if strings.HasPrefix(strings.ToLower(line), "bootstrap:") && line != "Bootstrap: docker\n" {
				t.Errorf("a stage of the author's: %q", line)
			}
		}
		if strings.Count(out, "Bootstrap:") > 1 && strings.Contains(out, "\nBootstrap: docker\nFrom: evil") || strings.Contains(out, "{{ ") && !strings.Contains(s, "{{ x }}") {
			t.Error(out)
		}
		// The shell puts the file where R says.
		dir := t.TempDir()
		script := section(out, "post")
		if i := strings.Index(script, "# lower_test"); i >= 0 {
			script = script[:i]
		}
		script = strings.Split(script, "\n(\n")[0]
		script = strings.Replace(script, "\nR=\n", "\nR="+dir+"\nchown() { :; }\n", 1)
		for _, shell := range [][]string{{"sh", "-e"}, {"bash", "--posix", "-e"}, {"busybox", "sh", "-e"}} {
			if _, err := exec.LookPath(shell[0]); err != nil {
				continue
			}
			cmd := exec.Command(shell[0], shell[1:]...)
			cmd.Stdin = strings.NewReader(script)
			if b, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %.60q: %v\n%s", shell, s, err, b)
				continue
			}
			if got := read(t, dir+"/f"); got != s {
				t.Errorf("%s: want %.100q, got %.100q", shell, s, got)
			}
			os.Remove(dir + "/f")
		}
	}
}

// Copies come from other stages with their owners; what was done in the image before
// a copy becomes a stage of its own, so that the order is kept.
func TestStages(t *testing.T) {
	tool := pulled().Then(pipelines.Run{Shell: "make tool"})
	s := text(t, pulled().Then(pipelines.Run{Shell: "before"}).Then(pipelines.Copy{From: tool, Src: []string{"/usr/bin/t*"}, Dst: "/usr/bin/", Owner: "0:0"}).
		Then(pipelines.Run{Shell: "after"}), deffile.Options{})
	var at int
	for _, want := range []string{"Bootstrap: docker", "Stage: stage1", "Bootstrap: docker", "Stage: stage2", "Bootstrap: scratch", "%files from stage1", "%files from stage2",
		"cf_copy '' '' \"$(cat \"$R/.cfbuild-from-stage1\")\" / /", "cf_copy 0:0 '' \"$(cat \"$R/.cfbuild-from-stage2\")\" /usr/bin/ '/usr/bin/t*'", "%post", "after"} {
		i := strings.Index(s[at:], want)
		if i < 0 {
			t.Fatalf("%q is not where it should be:\n%s", want, s)
		}
		at += i + len(want)
	}
}

// An image of files alone is made from the host: there is no shell in it.
func TestScratch(t *testing.T) {
	s := text(t, scratch().Then(pipelines.File{Path: "/etc/motd", Data: []byte("x")}), deffile.Options{})
	if strings.Contains(s, "%post") || !strings.Contains(s, "\ncf_file /etc/motd 0644 0:0 x\n") {
		t.Error(s)
	}
}
