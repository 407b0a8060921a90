package deb

import (
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
)

// The programs that configure a foreign root come from the archive that has them.
func TestSplitArchive(t *testing.T) {
	for _, c := range []struct{ repo, arch, want string }{
		{"ubuntu-ports", "amd64", "ubuntu"}, {"ubuntu-ports", "i386", "ubuntu"}, {"ubuntu", "arm64", "ubuntu-ports"},
		{"ubuntu", "amd64", ""}, {"ubuntu-ports", "arm64", ""}, {"debian", "amd64", ""}, {"ubuntu-old-releases", "amd64", ""},
	} {
		in := []pipelines.PackageSource{{Repository: c.repo, Suite: "noble"}, {Repository: c.repo, Suite: "noble-updates"}}
		got := splitArchive(in, c.arch)
		switch {
		case c.want == "" && got != nil, c.want != "" && (len(got) != 2 || got[0].Repository != c.want || got[1].Repository != c.want):
			t.Errorf("%s for %s: %+v", c.repo, c.arch, got)
		case in[0].Repository != c.repo:
			t.Error("the sources given were changed")
		}
		in[1].Mirrors = []string{"http://mirror.example"}
		if got := splitArchive(in, c.arch); got != nil {
			t.Errorf("%s for %s: mirrors that the definition names were left: %+v", c.repo, c.arch, got)
		}
	}
}
