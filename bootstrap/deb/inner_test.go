package deb

import (
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
)

func TestMergedUsr(t *testing.T) {
	for _, c := range []struct {
		r    archive.Release
		want bool
	}{
		{archive.Release{Origin: "Debian", Version: "11.11", Codename: "bullseye"}, false},
		{archive.Release{Origin: "Debian", Version: "11", Codename: "bullseye-security"}, false},
		{archive.Release{Origin: "Debian", Version: "12.12", Codename: "bookworm"}, true},
		{archive.Release{Origin: "Debian", Codename: "sid"}, true},
		{archive.Release{Origin: "Debian", Codename: "bullseye-backports"}, false},
		{archive.Release{Origin: "Ubuntu", Version: "18.04", Codename: "bionic"}, false},
		{archive.Release{Origin: "Ubuntu", Version: "18.10", Codename: "cosmic"}, false},
		{archive.Release{Origin: "Ubuntu", Version: "19.04", Codename: "disco"}, true},
		{archive.Release{Origin: "Ubuntu", Version: "24.04", Codename: "noble"}, true},
	} {
		if got := mergedUsr(c.r); got != c.want {
			t.Errorf("%s %s: %v", c.r.Origin, c.r.Codename, got)
		}
	}
}

func TestUpstream(t *testing.T) {
	for in, want := range map[string]string{"1.21.22": "1.21.22", "1:1.22.6-2ubuntu1": "1.22.6", "1.2-3-4": "1.2-3", "": ""} {
		if got := upstream(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
