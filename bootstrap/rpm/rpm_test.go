package rpm_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/rpm"
	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/internal/rpmfile"
	"github.com/cfbuild/cfbuild/internal/testrepo/rpmrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// stageFiles lists a root's first stage.
func stageFiles(t *testing.T, root bootstrap.Root) map[string]*tar.Header {
	t.Helper()
	l, err := oci.Open(root.Layout)
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Manifest(amd64)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := l.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(l.BlobPath(m.Layers[0].Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*tar.Header{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = h
	}
}

func TestMake(t *testing.T) {
	w := newSmall(t)
	root, err := w.make(t)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(root); got != "app-1-1.noarch lib-2-1.noarch" {
		t.Errorf("packages: %s", got)
	}
	if root.Subtree != "/target" || len(root.Configure) != 1 || root.Cached || !root.Epoch.Equal(rpmrepo.Made) {
		t.Errorf("%+v", root)
	}
	step := root.Configure[0]
	if step.Network != pipelines.NetworkNone || !strings.Contains(step.Shell, "_pkgverify_level all") || !strings.Contains(step.Shell, "--import /cfbuild/keys/") {
		t.Errorf("step: %+v", step)
	}
	files := stageFiles(t, root)
	packages := 0
	for name := range files {
		if strings.HasPrefix(name, "cfbuild/packages/") && strings.HasSuffix(name, ".rpm") {
			packages++
		}
	}
	if packages != 2 || files["usr/bin/rpm"] == nil || files["bin"].Typeflag != tar.TypeSymlink || files["target/"] == nil || files["usr/share/app"] != nil {
		t.Errorf("%d packages, stage: %v", packages, files)
	}

	// Again: from the cache, with one conditional request.
	w.mirror.Asked()
	again, err := w.make(t)
	if err != nil || !again.Cached || again.Digest != root.Digest {
		t.Errorf("again: %+v, %v", again, err)
	}
	if asked := w.mirror.Asked(); len(asked) != 1 {
		t.Errorf("asked for %v", asked)
	}
	w.req.Offline = true
	w.mirror.Fault(refuse)
	if again, err = w.make(t); err != nil || again.Digest != root.Digest {
		t.Errorf("offline: %v", err)
	}
	// And elsewhere: the same.
	w.req.Offline, w.req.CacheDir = false, t.TempDir()
	w.mirror.Fault(nil)
	if again, err = w.make(t); err != nil || again.Digest != root.Digest || again.Cached {
		t.Errorf("elsewhere: %+v %v", again, err)
	}
}

// TestRefused: what is not as its signature says is not used, and the error says
// what to do.
func TestRefused(t *testing.T) {
	other := rpmrepo.NewKey(t)
	repack := func(w *small, t *testing.T, change func(*rpmrepo.RPM)) {
		list := tiny(w.key)
		for i := range list {
			if list[i].Name == "app" {
				change(&list[i])
			}
		}
		rpmrepo.Write(t, w.dir, w.key, rpmrepo.Made, list...)
	}
	for _, c := range []struct {
		name       string
		change     func(w *small, t *testing.T)
		want, hint string
	}{
		{"a package changed", func(w *small, t *testing.T) { rpmrepo.Tamper(t, w.dir, "Packages/app-*.rpm") },
			"package app-1-1.noarch: mirror", "try again or name another mirror"},
		{"a package changed, and the metadata with it", func(w *small, t *testing.T) {
			rpmrepo.Edit(t, w.dir, "Packages/app-*.rpm", func(b []byte) []byte { b[len(b)-9] ^= 1; return b })
			rpmrepo.Index(t, w.dir, w.key, rpmrepo.Made)
		}, "package app-1-1.noarch: malformed package: its payload is not the one that its header says", "another mirror"},
		{"a package not signed", func(w *small, t *testing.T) { repack(w, t, func(r *rpmrepo.RPM) { r.Key = nil }) },
			"no good signature by a trusted key: it is not signed", "add the key to the site's keyrings"},
		{"a package signed by another", func(w *small, t *testing.T) { repack(w, t, func(r *rpmrepo.RPM) { r.Key = other }) },
			"is not in the keyring", "add the key to the site's keyrings"},
		{"another package under the name", func(w *small, t *testing.T) {
			evil := rpmrepo.RPM{Name: "evil", Key: w.key}.Build(t)
			rpmrepo.Edit(t, w.dir, "Packages/app-*.rpm", func([]byte) []byte { return evil })
			rpmrepo.Index(t, w.dir, w.key, rpmrepo.Made)
			rpmrepo.Edit(t, w.dir, "repodata/*-primary.xml.gz", func(b []byte) []byte { return regzip(t, b, "<name>evil<", "<name>app<", `name="evil"`, `name="app"`) })
			fixRepomd(t, w)
		}, "package app-1-1.noarch: it is evil-1-1.noarch inside", "another mirror"},
		{"primary.xml changed", func(w *small, t *testing.T) { rpmrepo.Tamper(t, w.dir, "repodata/*-primary.xml.gz") },
			"index primary of centos-stream", "try again or name another mirror"},
		{"repomd.xml changed", func(w *small, t *testing.T) {
			rpmrepo.Edit(t, w.dir, "repodata/repomd.xml", func(b []byte) []byte { return append(b, '\n') })
		}, "no good signature by a trusted key", "add that key to the site's keyrings"},
		{"repomd.xml signed by another", func(w *small, t *testing.T) { rpmrepo.Sign(t, w.dir, other) },
			"no good signature by a trusted key: key", "add that key to the site's keyrings"},
		{"only the distribution's keys are known", func(w *small, t *testing.T) { w.req.Site.Keyrings = nil },
			"no good signature by a trusted key: key", "add that key to the site's keyrings"},
		{"no key is known", func(w *small, t *testing.T) {
			w.req.Site.Keyrings, w.keys = nil, func(string, string) []byte { return nil }
		},
			`keyring of repository "centos-stream" (9-stream/BaseOS/$basearch/os): has no keys`, "site's keyrings, as centos-stream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newSmall(t)
			c.change(w, t)
			_, err := w.make(t)
			if err == nil {
				t.Fatal("it was taken")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
			var h interface{ Hint() string }
			if !errors.As(err, &h) || !strings.Contains(h.Hint(), c.hint) {
				t.Errorf("hint %v, want %q", h, c.hint)
			}
			if roots, _ := filepath.Glob(filepath.Join(w.req.CacheDir, "roots", "*", "root.json")); len(roots) > 0 {
				t.Errorf("it left %v", roots)
			}
		})
	}
}

// TestUnsignedMetadata is CentOS's way: the packages' signatures have to do.
func TestUnsignedMetadata(t *testing.T) {
	w := newSmall(t)
	asc := filepath.Join(w.dir, "repodata/repomd.xml.asc")
	if err := os.Remove(asc); err != nil {
		t.Fatal(err)
	}
	if _, err := w.make(t); err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(w.ev.texts(pipelines.EventNote), "\n"); !strings.Contains(notes, "does not sign its metadata: trust rests on the signature of each package") {
		t.Errorf("notes: %s", notes)
	}
	// A mirror cannot take away a signature that others have, or had before.
	v := newSmall(t)
	if _, err := v.make(t); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(v.dir, "repodata/repomd.xml.asc")); err != nil {
		t.Fatal(err)
	}
	rpmrepo.Index(t, v.dir, nil, rpmrepo.Made.Add(time.Hour))
	root, err := v.make(t)
	if err != nil || !root.Cached {
		t.Errorf("%+v, %v", root, err)
	}
	if warnings := strings.Join(v.ev.texts(pipelines.EventWarning), "\n"); !strings.Contains(warnings, "without their signature are passed over") {
		t.Errorf("warnings: %s", warnings)
	}
}

// TestOldPackages: signatures of rpm before 4.14 cover header and payload together.
func TestOldPackages(t *testing.T) {
	w := newSmall(t)
	list := tiny(w.key)
	for i := range list {
		list[i].V3, list[i].Compression = true, "gzip"
		list[i].Tags = rpmfile.Values{rpmfile.PayloadDigest: nil, rpmfile.PayloadDigestAlgo: nil}
	}
	rpmrepo.Write(t, w.dir, w.key, rpmrepo.Made, list...)
	if _, err := w.make(t); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i].V3 = false // now nothing vouches for the payload
	}
	rpmrepo.Write(t, w.dir, w.key, rpmrepo.Made.Add(time.Minute), list...)
	if _, err := w.make(t); err == nil || !strings.Contains(err.Error(), "it is not signed") {
		t.Errorf("a payload that nobody signed: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(w *small)
		want   string
		hint   string
	}{
		{"no source", func(w *small) { w.req.Op.Sources = nil }, "bootstrap rpm: has no sources", "give at least one"},
		{"no package", func(w *small) { w.req.Op.Include = nil }, "bootstrap rpm: includes no package", "name the packages"},
		{"a variant", func(w *small) { w.req.Op.Variant = "minbase" }, `has the variant "minbase"`, "variants are for deb"},
		{"a package that is not there", func(w *small) { w.req.Op.Include = []string{"coreutilz"} }, "package coreutilz: no repository has it", "did you mean coreutils?"},
		{"a release that is not there", func(w *small) { w.req.Op.Sources[0].Suite = "8-stream/BaseOS/$basearch/os" }, "no such release", "there is: 9-stream"},
		{"a repository that is not there", func(w *small) { w.req.Op.Sources[0].Suite = "9-stream/BasOS/$basearch/os" }, "no such release", "below 9-stream there is: BaseOS"},
		{"an architecture that is not there", func(w *small) { w.req.Platform = arm64 }, "no such release", "below 9-stream/BaseOS there is: x86_64"},
		{"a platform of no distribution", func(w *small) { w.req.Platform.Architecture = "mips" }, "no RPM distribution is known for linux/mips", "choose"},
		{"an unknown variable", func(w *small) { w.req.Op.Sources[0].Suite = "$releasever/os" }, "variable that is not known", "$basearch"},
		{"components", func(w *small) { w.req.Op.Sources[0].Components = []string{"main"} }, "has components", "for deb"},
		{"no mirror", func(w *small) { w.req.Site.Mirrors = nil }, "has no mirror", "list mirrors"},
		{"a way out", func(w *small) { w.req.Op.Sources[0].Suite = "../other" }, "is no directory below a mirror", "repodata"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newSmall(t)
			c.change(w)
			_, err := w.make(t)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			hint := ""
			var h interface{ Hint() string }
			if errors.As(err, &h) {
				hint = h.Hint()
			}
			if !strings.Contains(hint, c.hint) {
				t.Errorf("hint %q, want %q", hint, c.hint)
			}
		})
	}
}

func TestPlatforms(t *testing.T) {
	w := newSmall(t)
	ps, err := rpm.New(rpm.Options{}).Platforms(t.Context(), w.req)
	if err != nil || len(ps) != 1 || ps[0] != amd64 {
		t.Errorf("%v, %v", ps, err)
	}
}

// TestKeysOfTheBuild do not stay in the image.
func TestKeysOfTheBuild(t *testing.T) {
	w := newSmall(t)
	w.req.Site.Keyrings["centos-stream"] = site.Keyring{Keys: w.key.Public(t), Replace: true, BuildOnly: true}
	root, err := w.make(t)
	if err != nil || !strings.Contains(root.Configure[0].Shell, `rpm --root $t -e "$key"`) {
		t.Errorf("%v\n%s", err, root.Configure[0].Shell)
	}
}
