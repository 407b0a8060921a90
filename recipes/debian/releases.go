package debian

import (
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

const (
	debianName = "debian"
	ubuntuName = "ubuntu"
)

// release is one release of one of the two distributions.
type release struct {
	distribution, codename, version string
	// end is the last day of support that needs no contract: Debian's long-term
	// support, Ubuntu's standard support. extended is that of paid or volunteer
	// support beyond it (Debian ELTS, Ubuntu ESM), for the description.
	end, extended string
	// left: it is no longer on the mirrors, but in the distribution's archive of
	// old releases.
	left bool
}

// releases, with days from Debian's package distro-info-data (columns eol-lts and
// eol-elts of debian.csv; eol and eol-esm of ubuntu.csv).
var releases = [...]release{
	{debianName, "buster", "10", "2024-06-30", "2029-06-30", true},
	{debianName, "bullseye", "11", "2026-08-31", "2031-06-30", false},
	{debianName, "bookworm", "12", "2028-06-30", "2033-06-30", false},
	{debianName, "trixie", "13", "2030-06-30", "2035-06-30", false},
	{ubuntuName, "bionic", "18.04", "2023-05-31", "2028-04-26", false},
	{ubuntuName, "focal", "20.04", "2025-05-29", "2030-04-23", false},
	{ubuntuName, "jammy", "22.04", "2027-06-01", "2032-04-21", false},
	{ubuntuName, "noble", "24.04", "2029-05-31", "2034-04-25", false},
	{ubuntuName, "resolute", "26.04", "2031-05-29", "2036-04-23", false},
	// Interim releases, which are no targets, for Options.Suite.
	{ubuntuName, "cosmic", "18.10", "2019-07-18", "", true},
	{ubuntuName, "groovy", "20.10", "2021-07-22", "", true},
	{ubuntuName, "kinetic", "22.10", "2023-07-20", "", true},
	{ubuntuName, "lunar", "23.04", "2024-01-25", "", true},
	{ubuntuName, "mantic", "23.10", "2024-07-11", "", true},
	{ubuntuName, "oracular", "24.10", "2025-07-10", "", true},
	{ubuntuName, "plucky", "25.04", "2026-01-15", "", true},
}

// name is "Debian" or "Ubuntu".
func (r release) name() string {
	return strings.ToUpper(r.distribution[:1]) + r.distribution[1:]
}

// release looks the suite up. One that is not in the table belongs to
// Options.Distribution, Debian unless it says otherwise, and has no version.
func (o Options) release() release {
	i := slices.IndexFunc(releases[:], func(r release) bool {
		return r.codename == o.Suite && (o.Distribution == "" || r.distribution == o.Distribution)
	})
	if i >= 0 {
		return releases[i]
	}
	d := o.Distribution
	if d == "" {
		d = debianName
	}
	return release{distribution: d, codename: o.Suite}
}

// keyring is the path of the distribution's archive keys in its images.
func (r release) keyring() string {
	return "/usr/share/keyrings/" + r.distribution + "-archive-keyring.gpg"
}

// sourcesFile is the name the distribution's own images use, so that theirs is
// replaced.
func (r release) sourcesFile() string {
	return "/etc/apt/sources.list.d/" + r.distribution + ".sources"
}

type repository struct {
	name   string // as the site lists mirrors
	suites []string
	// expired: its release files are no longer made anew, so their last day of
	// validity has passed.
	expired bool
}

// repositories of a suite for a platform: itself with its updates, and security.
func (o Options) repositories(p pipelines.Platform) []repository {
	r := o.release()
	switch {
	case o.Suite == "":
		return []repository{{name: r.distribution, suites: []string{""}}} // refused, with a reason
	case r.distribution == ubuntuName:
		name := "ubuntu"
		switch {
		case r.left:
			name = "ubuntu-old-releases"
		case p.Architecture != "amd64" && p.Architecture != "386":
			name = "ubuntu-ports"
		}
		return []repository{{name, []string{o.Suite, o.Suite + "-updates", o.Suite + "-security"}, r.left}}
	case o.Suite == "sid", o.Suite == "unstable": // neither updates nor security
		return []repository{{name: "debian", suites: []string{o.Suite}}}
	case r.left:
		// Up to buster security suites were called "buster/updates". What was in
		// buster-updates is in the last point release; the archive does not keep
		// such suites of all releases.
		return []repository{
			{"debian-archive", []string{o.Suite}, true},
			{"debian-archive-security", []string{o.Suite + "/updates"}, true},
		}
	}
	return []repository{
		{"debian", []string{o.Suite, o.Suite + "-updates"}, false},
		{"debian-security", []string{o.Suite + "-security"}, false},
	}
}

// components of the archive that are used, and all that it has.
func (o Options) components() []string {
	switch {
	case len(o.Components) > 0:
		return o.Components
	case o.release().distribution == ubuntuName:
		return []string{"main", "universe"}
	}
	return []string{"main"}
}

func (r release) allComponents() []string {
	if r.distribution == ubuntuName {
		return []string{"main", "restricted", "universe", "multiverse"}
	}
	return []string{"main", "contrib", "non-free", "non-free-firmware"}
}
