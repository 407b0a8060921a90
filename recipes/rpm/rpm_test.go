package rpm_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/recipes/rpm"
	"github.com/cfbuild/cfbuild/site"
)

var (
	amd64 = pipelines.Platform{OS: "linux", Architecture: "amd64"}
	arm64 = pipelines.Platform{OS: "linux", Architecture: "arm64"}
	power = pipelines.Platform{OS: "linux", Architecture: "ppc64le"}
)

func lab() site.Site { return recipetest.Lab() }

func graph(t *testing.T, o rpm.Options, s site.Site, p pipelines.Platform) pipelines.Graph {
	t.Helper()
	g, err := rpm.New(o)(s, p).Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// file gives what a graph writes to a path, "" for nothing.
func file(g pipelines.Graph, path string) string {
	for _, n := range g.Nodes {
		if f, ok := n.Op.(pipelines.File); ok && f.Path == path {
			return string(f.Data)
		}
	}
	return ""
}

func TestGolden(t *testing.T) {
	text := func(o rpm.Options, s site.Site, p pipelines.Platform) []byte {
		return recipetest.Text(t, rpm.New(o)(s, p))
	}
	golden.Check(t, "centos7-public.txt", text(rpm.Options{Distribution: rpm.CentOS, Release: 7}, site.Public(), power))
	golden.Check(t, "centos9-public.txt", text(rpm.Options{Distribution: rpm.CentOS, Release: 9}, site.Public(), amd64))
	golden.Check(t, "centos9-ornl.txt", text(rpm.Options{Distribution: rpm.CentOS, Release: 9}, site.ORNL(), amd64))
	golden.Check(t, "rocky10-public.txt", text(rpm.Options{Distribution: rpm.Rocky, Release: 10}, site.Public(), amd64))
	golden.Check(t, "fedora44-public.txt", text(rpm.Options{Distribution: rpm.Fedora, Release: 44}, site.Public(), power))
	golden.Check(t, "alma9-options.txt", text(rpm.Options{
		Distribution: rpm.Alma, Release: 9, Source: common.FromImage, Image: "registry.example/alma:9", Include: []string{"git", "NetworkManager"},
		EPEL: rpm.EPELOff, CRB: true, Fallback: rpm.List, NoMetadataSignature: true, WeakDeps: true, Docs: true, NoTrust: true,
		Languages: common.NoIndexes, Labels: map[string]string{"org.opencontainers.image.title": "Mine"},
	}, lab(), amd64))
	golden.Check(t, "trust.txt", recipetest.Text(t, pipelines.From(amd64, pipelines.Pull{Ref: "quay.io/centos/centos:stream9"}).With(rpm.Trust(lab().ImageCAs()))))
}

// Each release is made of what its mirrors have.
func TestSources(t *testing.T) {
	for _, c := range []struct {
		o    rpm.Options
		p    pipelines.Platform
		want string
	}{
		{rpm.Options{Distribution: rpm.CentOS, Release: 7}, amd64, "centos-vault 7.9.2009/os/$basearch; centos-vault 7.9.2009/updates/$basearch"},
		{rpm.Options{Distribution: rpm.CentOS, Release: 7}, arm64, "centos-altarch 7.9.2009/os/$basearch; centos-altarch 7.9.2009/updates/$basearch"},
		{rpm.Options{Distribution: rpm.CentOS, Release: 8}, amd64, "centos-vault 8-stream/BaseOS/$basearch/os; centos-vault 8-stream/AppStream/$basearch/os"},
		{rpm.Options{Distribution: rpm.CentOS, Release: 10}, amd64, "centos-stream 10-stream/BaseOS/$basearch/os; centos-stream 10-stream/AppStream/$basearch/os"},
		{rpm.Options{Distribution: rpm.CentOS, Release: 9, Include: []string{"htop"}}, amd64, "centos-stream 9-stream/BaseOS/$basearch/os; centos-stream 9-stream/AppStream/$basearch/os; " +
			"centos-stream 9-stream/CRB/$basearch/os; centos-stream SIGs/9-stream/extras/$basearch/extras-common; epel 9/Everything/$basearch; epel next/9/Everything/$basearch"},
		{rpm.Options{Distribution: rpm.Rocky, Release: 10, Include: []string{"htop"}}, amd64, "rocky 10/BaseOS/$basearch/os; rocky 10/AppStream/$basearch/os; " +
			"rocky 10/CRB/$basearch/os; rocky 10/extras/$basearch/os; epel 10z/Everything/$basearch"},
		{rpm.Options{Distribution: rpm.Alma, Release: 8}, power, "almalinux 8/BaseOS/$basearch/os; almalinux 8/AppStream/$basearch/os"},
		{rpm.Options{Distribution: rpm.Fedora, Release: 44}, amd64, "fedora releases/44/Everything/$basearch/os; fedora updates/44/Everything/$basearch"},
		{rpm.Options{Distribution: rpm.Fedora, Release: 44}, power, "fedora-secondary releases/44/Everything/$basearch/os; fedora-secondary updates/44/Everything/$basearch"},
		{rpm.Options{Distribution: rpm.UBI, Release: 9, Include: []string{"git"}}, arm64, "ubi dist/ubi9/9/$basearch/baseos/os; ubi dist/ubi9/9/$basearch/appstream/os"},
	} {
		var got []string
		for _, s := range graph(t, c.o, site.Public(), c.p).Base().Op.(pipelines.Bootstrap).Sources {
			got = append(got, s.Repository+" "+s.Suite)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s%d for %s: %s, want %s", c.o.Distribution, c.o.Release, c.p, strings.Join(got, "; "), c.want)
		}
	}
}

// Options that make no sense are refused with the line that gave them, and a way
// out.
func TestOptionsThatMakeNoSense(t *testing.T) {
	nine := rpm.Options{Distribution: rpm.CentOS, Release: 9}
	with := func(change func(*rpm.Options)) rpm.Options {
		o := nine
		change(&o)
		return o
	}
	for _, c := range []struct {
		o    rpm.Options
		p    pipelines.Platform
		says string
	}{
		{rpm.Options{}, amd64, "recipe rpm: has no distribution"},
		{rpm.Options{Distribution: "mageia", Release: 9}, amd64, `recipe mageia: does not know the distribution "mageia"`},
		{rpm.Options{Distribution: rpm.Rocky}, amd64, "has no release"},
		{rpm.Options{Distribution: rpm.Rocky, Release: 7}, amd64, "does not know release 7 of rocky"},
		{rpm.Options{Distribution: rpm.Fedora, Release: 44, EPEL: rpm.EPELOn}, amd64, "has EPEL, but is Fedora"},
		{rpm.Options{Distribution: rpm.Fedora, Release: 44, CRB: true}, amd64, "has CRB, which Fedora Linux 44 does not have"},
		{rpm.Options{Distribution: rpm.CentOS, Release: 7, CRB: true}, amd64, "has CRB"},
		{rpm.Options{Distribution: rpm.CentOS, Release: 7, WeakDeps: true}, amd64, "has WeakDeps, but the rpm of CentOS Linux 7 knows none"},
		{nine, pipelines.Platform{OS: "linux", Architecture: "riscv64"}, "CentOS Stream 9 is not made for linux/riscv64"},
		{rpm.Options{Distribution: rpm.Rocky, Release: 8}, power, "Rocky Linux 8 is not made for linux/ppc64le"},
		{with(func(o *rpm.Options) { o.Source = "iso" }), amd64, `does not know the source "iso"`},
		{with(func(o *rpm.Options) { o.Image = "quay.io/x" }), amd64, "has an Image, but is made from packages"},
		{with(func(o *rpm.Options) { o.Source, o.Exclude = common.FromImage, []string{"tar"} }), amd64, "has Exclude, but starts from an image"},
		{with(func(o *rpm.Options) { o.Source, o.Include = common.FromImage, []string{"git; reboot"} }), amd64, `"git; reboot" is not a package name`},
		{with(func(o *rpm.Options) { o.EPEL = "yes" }), amd64, `does not know the EPEL setting "yes"`},
		{with(func(o *rpm.Options) { o.Fallback = "metalink" }), amd64, `does not know the fallback "metalink"`},
		{with(func(o *rpm.Options) { o.Languages = "some" }), amd64, `does not know the language configuration "some"`},
	} {
		_, err := rpm.New(c.o)(site.Public(), c.p).Graph() // this line is the recipe's
		var e *pipelines.InvalidError
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), "rpm/rpm_test.go:") || !strings.Contains(err.Error(), c.says) || e.Hint() == "" {
			t.Errorf("%+v: got %v", c.o, err)
		}
	}
}

// Where the site has no mirror of its own, the image asks the distribution's own
// list of mirrors, whose metalink has hashes.
func TestPublicImagesUseTheDistributionsMirrors(t *testing.T) {
	repos := file(graph(t, rpm.Options{Distribution: rpm.CentOS, Release: 9}, site.Public(), amd64), "/etc/yum.repos.d/centos.repo")
	if !strings.Contains(repos, "metalink=https://mirrors.centos.org/metalink?repo=centos-baseos-9-stream&arch=$basearch&protocol=https,http\n") || strings.Contains(repos, "baseurl") {
		t.Errorf("got\n%s", repos)
	}
	// A site with only a mirror of its own has nothing public in its images.
	s := site.Site{Mirrors: map[string][]site.Mirror{"centos-stream": {{URL: "https://near.example/c"}}, "epel": {{URL: "https://near.example/e"}}}}
	for _, n := range graph(t, rpm.Options{Distribution: rpm.CentOS, Release: 9, Languages: common.NoIndexes}, s, amd64).Nodes {
		f, ok := n.Op.(pipelines.File)
		if ok && strings.HasSuffix(f.Path, ".repo") && (strings.Contains(string(f.Data), ".org") || strings.Contains(string(f.Data), "-fallback")) {
			t.Errorf("%s has\n%s", f.Path, f.Data)
		}
	}
}

// The site's own keys stand beside the distribution's, or in their place.
func TestKeys(t *testing.T) {
	s := lab()
	const own, theirs = "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centos-stream-site", "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial"
	for _, replace := range []bool{false, true} {
		s.Keyrings["centos-stream"] = site.Keyring{Keys: []byte("lab"), Replace: replace}
		g := graph(t, rpm.Options{Distribution: rpm.CentOS, Release: 9}, s, amd64)
		repos := file(g, "/etc/yum.repos.d/centos.repo")
		if !strings.Contains(repos, own) || strings.Contains(repos, theirs) == replace || file(g, strings.TrimPrefix(own, "file://")) != "lab" {
			t.Errorf("replace %v:\n%s", replace, repos)
		}
	}
	// EPEL's key comes with the recipe, as no package brings it.
	g := graph(t, rpm.Options{Distribution: rpm.Rocky, Release: 9}, site.Public(), amd64)
	if !strings.Contains(file(g, "/etc/pki/rpm-gpg/RPM-GPG-KEY-EPEL-9"), "BEGIN PGP PUBLIC KEY BLOCK") {
		t.Error("EPEL's key is not in the image")
	}
}

// The order is what matters: anchors and repositories are one run of files, the
// bundle is made by the first command, without a network; the upgrade is one step.
func TestOrder(t *testing.T) {
	for _, source := range []common.Source{common.FromPackages, common.FromImage} {
		g := graph(t, rpm.Options{Distribution: rpm.CentOS, Release: 9, Source: source}, lab(), amd64)
		var kinds []string
		for _, n := range g.Nodes[slices.IndexFunc(g.Nodes, func(n pipelines.Node) bool { return n.Name == g.Base().Name }):] {
			switch o := n.Op.(type) {
			case pipelines.File:
				if len(kinds) == 0 || kinds[len(kinds)-1] != "files" {
					kinds = append(kinds, "files")
				}
			case pipelines.Run:
				kinds = append(kinds, "run "+strings.Fields(strings.TrimPrefix(n.Name, "run "))[0]+" "+string(o.Network))
			case pipelines.Configure:
				kinds = append(kinds, "configure "+o.Labels[common.LabelCA])
			}
		}
		want := "files; run trust none; configure lab-root,other"
		if source == common.FromImage {
			want = "files; run trust none; run upgrade ; configure lab-root,other"
		}
		// The files that are mounted while upgrading stand in an image of their own.
		got := strings.Replace(strings.Join(kinds, "; "), "run trust none; files; run upgrade", "run trust none; run upgrade", 1)
		if got != want {
			t.Errorf("%s: got %s, want %s", source, got, want)
		}
	}
}

// An upgrade fetches from the mirrors for building, and what it does leaves no
// caches.
func TestUpgrade(t *testing.T) {
	for _, c := range []struct {
		o    rpm.Options
		s    site.Site
		show bool
		says []string
	}{
		{rpm.Options{Distribution: rpm.CentOS, Release: 9, Source: common.FromImage}, site.Public(), false,
			[]string{`dnf -y ${SSL_CERT_FILE:+"--setopt=sslcacert=$SSL_CERT_FILE"} upgrade`, "autoremove", "dnf clean all", "/var/cache/dnf", "/var/log/dnf*"}},
		{rpm.Options{Distribution: rpm.CentOS, Release: 7, Source: common.FromImage, Include: []string{"git"}}, lab(), true, []string{"yum -y ", "install git", "yum clean all", "/var/cache/yum"}},
	} {
		for _, n := range graph(t, c.o, c.s, amd64).Nodes {
			o, ok := n.Op.(pipelines.Run)
			if !ok || !strings.Contains(n.Name, "upgrade packages") {
				continue
			}
			if (len(o.Mounts) > 0) != c.show {
				t.Errorf("%s: %d mounts", c.s.Name, len(o.Mounts))
			}
			for _, text := range c.says {
				if !strings.Contains(o.Shell, text) {
					t.Errorf("no %q in\n%s", text, o.Shell)
				}
			}
			c.says = nil
		}
		if c.says != nil {
			t.Error("nothing is upgraded")
		}
	}
}

// The site "host" says where bytes come from; its images are the public ones.
func TestHostImagesArePublic(t *testing.T) {
	s := lab()
	for _, lists := range []map[string][]site.Mirror{s.Mirrors, s.Indexes} {
		for name := range lists {
			for i := range lists[name] {
				lists[name][i].BuildOnly = true
			}
		}
	}
	for i := range s.CAs {
		s.CAs[i].BuildOnly = true
	}
	for name := range s.Keyrings {
		s.Keyrings[name] = site.Keyring{Keys: []byte("x"), BuildOnly: true}
	}
	o := rpm.Options{Distribution: rpm.Alma, Release: 10}
	if graph(t, o, s, amd64).ID() != graph(t, o, site.Public(), amd64).ID() {
		t.Error("an image for the site host differs from the public one")
	}
}

// A recipe is a pure function: using it once changes nothing for the next use.
func TestRecipesArePure(t *testing.T) {
	include := append(make([]string, 0, 8), "git")
	r := rpm.New(rpm.Options{Distribution: rpm.Rocky, Release: 9, Include: include})
	before, err := r(site.Public(), amd64).Graph()
	if err != nil {
		t.Fatal(err)
	}
	include[0] = "changed"
	if _, err := r(lab(), arm64).Graph(); err != nil {
		t.Fatal(err)
	}
	if _, err := r(lab(), pipelines.Platform{OS: "linux", Architecture: "386"}).Graph(); err == nil {
		t.Error("a platform that there is none for is taken")
	}
	after, err := r(site.Public(), amd64).Graph()
	if err != nil || before.ID() != after.ID() {
		t.Errorf("a recipe remembers what it was used with: %v", err)
	}
}

func TestTargets(t *testing.T) {
	names := map[string]bool{}
	for _, target := range rpm.Targets(site.Public()) {
		names[target.Name] = true
		if len(target.Tests) < 15 || len(target.Platforms) < 2 {
			t.Errorf("%s has %d tests, %d platforms", target.Name, len(target.Tests), len(target.Platforms))
		}
	}
	for _, name := range []string{"centos7", "centos8", "centos9", "centos10", "rocky8", "rocky9", "rocky10", "alma8", "alma9", "alma10", "fedora43", "fedora44", "fedora45", "ubi8", "ubi9", "ubi10"} {
		if !names[name] || !names[name+common.Upstream] {
			t.Errorf("there is no target %s, or none from its upstream image", name)
		}
	}
}
