package site

import (
	"os"
	"slices"
	"strings"
)

// repository says which of the known repositories an entry of apt's sources is a
// mirror of. The release file apt downloaded from it is the best witness; without
// one, the suite, the component main, and the keyring or URL have to agree, so
// that a vendor's own repository is not taken for the distribution's.
func (e aptEntry) repository(o LoadOptions) (string, bool) {
	if len(e.uris) == 0 || len(e.suites) == 0 {
		return "", false
	}
	url := strings.ToLower(strings.TrimRight(e.uris[0], "/"))
	ubuntu := "ubuntu"
	if strings.Contains(url, "ubuntu-ports") || strings.Contains(url, "://ports.ubuntu.com") {
		ubuntu = "ubuntu-ports"
	}
	if origin, label, ok := e.release(o); ok {
		switch {
		case origin == "Debian" && label == "Debian":
			return "debian", true
		case origin == "Debian" && label == "Debian-Security":
			return "debian-security", true
		case origin == "Ubuntu":
			return ubuntu, true
		}
		return "", false
	}
	if !slices.Contains(e.components, "main") && !slices.Contains(e.components, "updates/main") {
		return "", false
	}
	suite := strings.TrimRight(e.suites[0], "/")
	name, pocket, _ := strings.Cut(strings.ReplaceAll(suite, "/", "-"), "-")
	switch {
	case slices.Contains(debianSuites(), name) && e.looksLike("debian", url):
		switch {
		case pocket == "security" || (pocket == "updates" && strings.Contains(suite, "/")):
			return "debian-security", true // "bookworm-security", before bullseye "buster/updates"
		case slices.Contains([]string{"", "updates", "backports", "proposed-updates"}, pocket):
			return "debian", true
		}
	case slices.Contains(ubuntuSuites(), name) && e.looksLike("ubuntu", url):
		return ubuntu, slices.Contains([]string{"", "updates", "security", "backports", "proposed"}, pocket)
	}
	return "", false
}

// looksLike: the distribution's keyring settles it, another one too (vendors keep
// repositories at …/debian with suites bookworm and components main); without any,
// the last directory of the URL has the distribution's name.
func (e aptEntry) looksLike(distribution, url string) bool {
	if e.signedBy != "" {
		return strings.Contains(e.signedBy, distribution+"-archive")
	}
	last := url[strings.LastIndex(url, "/")+1:]
	return strings.HasPrefix(last, distribution) ||
		strings.Contains(url, "://snapshot."+distribution+".") || strings.Contains(url, "://security."+distribution+".")
}

// release reads Origin and Label of the release file apt keeps for the entry:
// /var/lib/apt/lists/HOST_PATH_dists_SUITE_InRelease.
func (e aptEntry) release(o LoadOptions) (origin, label string, ok bool) {
	_, rest, is := strings.Cut(e.uris[0], "://")
	if !is {
		return "", "", false
	}
	name := strings.ReplaceAll(strings.TrimRight(rest, "/")+"/dists/"+strings.TrimRight(e.suites[0], "/"), "/", "_")
	for _, ending := range []string{"_InRelease", "_Release"} {
		data, err := os.ReadFile(o.root("/var/lib/apt/lists/" + name + ending))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if v, is := strings.CutPrefix(line, "Origin: "); is && origin == "" {
				origin = strings.TrimSpace(v)
			}
			if v, is := strings.CutPrefix(line, "Label: "); is && label == "" {
				label = strings.TrimSpace(v)
			}
		}
		return origin, label, origin != ""
	}
	return "", "", false
}

func debianSuites() []string {
	return []string{"stretch", "buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid",
		"oldoldstable", "oldstable", "stable", "testing", "unstable"}
}

func ubuntuSuites() []string {
	return []string{"trusty", "xenial", "bionic", "focal", "jammy", "mantic", "noble", "oracular", "plucky", "questing"}
}
