package debian_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

// apt is a private apt: the files a recipe writes below a directory of its own,
// run by this machine's apt-get.
type apt struct{ root string }

func newAPT(t *testing.T, o debian.Options, s site.Site) apt {
	t.Helper()
	root := t.TempDir()
	for _, f := range debian.Files(o, s, amd64) {
		path := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		// Paths of the image, where they stand in the files, become private ones.
		data := strings.ReplaceAll(string(f.Data), "/etc/apt/", root+"/etc/apt/")
		mode := os.FileMode(0o644)
		if f.Mode != 0 {
			mode = os.FileMode(f.Mode) // what apt runs before an update
		}
		if err := os.WriteFile(path, []byte(data), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg", "etc/apt/preferences.d", "down"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	conf := "Dir \"" + root + "\";\nDir::State::status \"" + root + "/var/lib/dpkg/status\";\nDir::Bin::methods \"/usr/lib/apt/methods\";\nAPT::Sandbox::User \"root\";\n"
	if err := os.WriteFile(filepath.Join(root, "apt.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return apt{root}
}

func (a apt) get(args ...string) (string, error) {
	c := exec.Command("apt-get", args...)
	c.Dir = filepath.Join(a.root, "down")
	c.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(a.root, "apt.conf"), "LC_ALL=C")
	out, err := c.CombinedOutput()
	return string(out), err
}

const dead = "http://127.0.0.1:9/debian" // the discard port: refused

func bothRepositories(urls func(repo string) []string) site.Site {
	s := site.Site{Mirrors: map[string][]site.Mirror{}}
	for _, repo := range []string{"debian", "debian-security"} {
		for _, u := range urls(repo) {
			s.Mirrors[repo] = append(s.Mirrors[repo], site.Mirror{URL: u})
		}
	}
	return s
}

// The sources an image gets survive a preferred mirror that is down: apt fetches
// signed indexes and a package from the second one.
func TestSourcesSurviveADeadMirror(t *testing.T) {
	testneed.Program(t, "apt-get")
	if _, err := os.Stat("/usr/share/keyrings/debian-archive-keyring.gpg"); err != nil {
		testneed.Skip(t, "no debian-archive-keyring here")
	}
	host, err := site.Load("host", site.LoadOptions{Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	o := debian.Options{Suite: "bookworm"}
	a := newAPT(t, o, bothRepositories(func(repo string) []string { return append([]string{dead}, host.URLs(repo)...) }))
	out, err := a.get("update", "--error-on=any")
	if err != nil {
		t.Fatalf("apt-get update: %v\n%s", err, out)
	}
	if out, err := a.get("download", "hello"); err != nil {
		t.Fatalf("apt-get download: %v\n%s", err, out)
	}
	debs, _ := filepath.Glob(filepath.Join(a.root, "down", "hello_*.deb"))
	if len(debs) != 1 {
		t.Fatalf("downloaded %v", debs)
	}
	if out, err := exec.Command("dpkg-deb", "--field", debs[0], "Package").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "hello" {
		t.Errorf("%v: %s", err, out)
	}

	// With every mirror down apt says so.
	a = newAPT(t, o, bothRepositories(func(string) []string { return []string{dead, "http://127.0.0.1:9/other"} }))
	if out, err := a.get("update", "--error-on=any"); err == nil {
		t.Errorf("apt-get update succeeds without a mirror:\n%s", out)
	}
}

// The site's own archive keys decide: in place of Debian's they refuse Debian's
// signature, beside them they change nothing.
func TestSourcesCheckSignatures(t *testing.T) {
	testneed.Program(t, "apt-get")
	key := filepath.Join(t.TempDir(), "key.asc")
	home := filepath.Join(t.TempDir(), "g")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	gpg := testneed.Program(t, "gpg")
	script := gpg + " --batch --quiet --passphrase '' --quick-generate-key lab@example.org rsa2048 sign never && " + gpg + " --armor --export > " + key + "; gpgconf --kill all"
	c := exec.Command("sh", "-c", script)
	c.Env = append(os.Environ(), "GNUPGHOME="+home)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("gpg: %v\n%s", err, out)
	}
	keys, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	host, err := site.Load("host", site.LoadOptions{Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	for _, replace := range []bool{false, true} {
		s := bothRepositories(host.URLs)
		s.Keyrings = map[string]site.Keyring{
			"debian":          {Keys: keys, Replace: replace},
			"debian-security": {Keys: keys, Replace: replace},
		}
		a := newAPT(t, debian.Options{Suite: "bookworm"}, s)
		// Fetch the signed index only.
		out, err := a.get("update", "--error-on=any", "-o", "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false")
		if replace == (err == nil) {
			t.Errorf("replace %v: apt-get update: %v\n%s", replace, err, out)
		}
		if replace && !strings.Contains(out, "NO_PUBKEY") && !strings.Contains(out, "signature") {
			t.Errorf("failed for another reason:\n%s", out)
		}
	}
}
