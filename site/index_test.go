package site

import (
	"reflect"
	"strings"
	"testing"
)

func TestIndexesAndUses(t *testing.T) {
	dir := writeTree(t, map[string]string{"site.toml": `extends = "ornl"
[mirrors]
rocky = [{ url = "http://near.example/rocky", build-only = true }, { url = "https://far.example/rocky", image-only = true }]
[indexes]
pypi = ["https://near.example/simple/", { url = "https://build.example/simple", build-only = true }, { url = "https://image.example/simple", image-only = true }]
npm = "https://near.example/npm"
`})
	s, err := Load("./site.toml", LoadOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	const repoman, public = "https://repoman.ornl.gov/pypi/simple", "https://pypi.org/simple"
	for _, c := range []struct {
		what      string
		got, want []string
	}{
		{"rocky", s.URLs("rocky"), []string{"http://near.example/rocky", "https://dl.rockylinux.org/pub/rocky"}},
		{"rocky in images", s.ImageURLs("rocky"), []string{"https://far.example/rocky", "https://dl.rockylinux.org/pub/rocky"}},
		{"pypi", s.IndexURLs("pypi"), []string{"https://near.example/simple", "https://build.example/simple", repoman, public}},
		{"pypi in images", s.ImageIndexURLs("pypi"), []string{"https://near.example/simple", "https://image.example/simple", repoman, public}},
		{"npm", s.IndexURLs("npm"), []string{"https://near.example/npm", "https://registry.npmjs.org"}},
		{"cran", s.IndexURLs("cran"), ORNL().IndexURLs("cran")},
		{"nothing", Site{}.IndexURLs("pypi"), nil},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	d := s.Describe()
	if !reflect.DeepEqual(d.ImageOnly, []string{"https://far.example/rocky", "https://image.example/simple"}) || !reflect.DeepEqual(d.BuildOnly, []string{"http://near.example/rocky", "https://build.example/simple"}) {
		t.Errorf("described as %v and %v", d.BuildOnly, d.ImageOnly)
	}
	// A repository that a site has no mirror of at all is public in its images.
	for _, repo := range knownRepositories() {
		if got := (Site{}).ImageURLs(repo); len(got) != 1 || !reflect.DeepEqual(got, Public().URLs(repo)) {
			t.Errorf("%s in images of an empty site: %v", repo, got)
		}
	}
	for _, s := range []Site{
		{Indexes: map[string][]Mirror{"pipy": nil}},
		{Indexes: map[string][]Mirror{"pypi": {{URL: "https://u:p@h/simple"}}}},
		{Indexes: map[string][]Mirror{"pypi": {{URL: "https://h/simple", BuildOnly: true, ImageOnly: true}}}},
		{CAs: []Certificate{{Name: "a", PEM: makeCert(t, certSpec{cn: "A"}), BuildOnly: true, ImageOnly: true}}},
	} {
		if s.Check(testNow) == nil {
			t.Errorf("Check takes %+v", s.Indexes)
		}
	}
}

// What pip, npm and conda of the machine use is for building alone, and a login in
// one of their URLs is not taken.
func TestHostIndexes(t *testing.T) {
	s := loadHost(t, map[string]string{
		"etc/pip.conf":               "[install]\nindex-url = http://wrong.example/simple\n[global]\nindex_url = http://machine.example/simple/\n",
		"root/.config/pip/pip.conf":  "[global]\nindex-url = http://bob:hunter2@user.example/simple\n",
		"root/.npmrc":                "//near.example/:_authToken=hunter2\nregistry=\"https://near.example/npm/\"\n",
		"usr/local/etc/npmrc":        "registry=https://far.example/npm\n",
		"unread/.config/pip/x":       "",
		"etc/unrelated/registry.txt": "",
	}, map[string]string{"HOME": "/root", "CONDA_CHANNEL_ALIAS": "https://near.example/conda"})
	for kind, want := range map[string]string{"pypi": "http://machine.example/simple", "npm": "https://near.example/npm", "conda": "https://near.example/conda", "cran": "https://cloud.r-project.org"} {
		if got := s.IndexURLs(kind); got[0] != want {
			t.Errorf("%s: %v, want %s first", kind, got, want)
		}
		if got := s.ImageIndexURLs(kind); !reflect.DeepEqual(got, Public().IndexURLs(kind)) {
			t.Errorf("%s in images: %v", kind, got)
		}
	}
	if want := []string{`/root/.config/pip/pip.conf: left out: "http://bob:xxxxx@user.example/simple" holds credentials`}; !reflect.DeepEqual(s.Notes, want) {
		t.Errorf("notes %q", s.Notes)
	}
	if strings.Contains(strings.Join(s.Notes, ""), "hunter2") {
		t.Error("a password is told")
	}
}
