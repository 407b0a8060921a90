package lint

import (
	"path"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
)

// ends are the days on which the support of releases ends, by os-release's ID and
// VERSION_ID (os-release(5)): the last that gives updates to everyone (Debian's
// long-term support, Ubuntu's standard support, Red Hat's maintenance). What is not
// listed is not judged.
var ends = map[string]string{
	"debian 8": "2020-06-30", "debian 9": "2022-06-30", "debian 10": "2024-06-30", "debian 11": "2026-08-31",
	"debian 12": "2028-06-30", "debian 13": "2030-06-30",
	"ubuntu 14.04": "2019-04-25", "ubuntu 16.04": "2021-04-30", "ubuntu 18.04": "2023-05-31", "ubuntu 20.04": "2025-05-29",
	"ubuntu 22.04": "2027-06-01", "ubuntu 24.04": "2029-05-31", "ubuntu 26.04": "2031-05-29",
	"ubuntu 23.04": "2024-01-25", "ubuntu 23.10": "2024-07-11", "ubuntu 24.10": "2025-07-10", "ubuntu 25.04": "2026-01-15",
	"centos 6": "2020-11-30", "centos 7": "2024-06-30", "centos 8": "2021-12-31",
	"centos-stream 8": "2024-05-31", "centos-stream 9": "2027-05-31", "centos-stream 10": "2030-05-31",
	"rhel 6": "2020-11-30", "rhel 7": "2024-06-30", "rhel 8": "2029-05-31", "rhel 9": "2032-05-31", "rhel 10": "2035-05-31",
	"rocky 8": "2029-05-31", "rocky 9": "2032-05-31", "rocky 10": "2035-05-31",
	"almalinux 8": "2029-05-31", "almalinux 9": "2032-05-31", "almalinux 10": "2035-05-31",
	"fedora 38": "2024-05-21", "fedora 39": "2024-11-26", "fedora 40": "2025-05-13", "fedora 41": "2025-12-15", "fedora 42": "2026-05-13", "fedora 43": "2026-12-09", "fedora 44": "2027-06-02",
	"alpine 3.15": "2023-11-01", "alpine 3.16": "2024-05-23", "alpine 3.17": "2024-11-22", "alpine 3.18": "2025-05-09",
	"alpine 3.19": "2025-11-01", "alpine 3.20": "2026-04-01", "alpine 3.21": "2026-11-01", "alpine 3.22": "2027-05-01",
	"opensuse-leap 15.3": "2022-12-31", "opensuse-leap 15.4": "2023-12-07", "opensuse-leap 15.5": "2024-12-31", "opensuse-leap 15.6": "2026-04-30",
	"sles 12.5": "2024-10-31", "sles 15.4": "2023-12-31", "sles 15.5": "2024-12-31", "sles 15.6": "2025-12-31", "sles 15.7": "2031-07-31",
}

// over says whether a day is past.
func over(day string, now time.Time) bool {
	return pipelines.Target{EndOfLife: day}.Ended(now)
}

// releaseEnd reads an os-release file: the release's name and the day its support
// ends, "" when it is not known.
func releaseEnd(osRelease []byte) (name, end string) {
	v := map[string]string{}
	for line := range strings.Lines(string(osRelease)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			v[key] = strings.Trim(value, `"'`)
		}
	}
	id, version := v["ID"], v["VERSION_ID"]
	if id == "centos" && strings.Contains(v["NAME"], "Stream") {
		id = "centos-stream"
	}
	end, ok := ends[id+" "+version]
	if !ok {
		parts := strings.Split(version, ".")
		end, ok = ends[id+" "+parts[0]]
		if !ok && len(parts) > 2 {
			end = ends[id+" "+parts[0]+"."+parts[1]]
		}
	}
	return or(v["PRETTY_NAME"], id+" "+version), end
}

// codenames of apt suites.
var codenames = map[string]string{
	"jessie": "debian 8", "stretch": "debian 9", "buster": "debian 10", "bullseye": "debian 11", "bookworm": "debian 12", "trixie": "debian 13",
	"trusty": "ubuntu 14.04", "xenial": "ubuntu 16.04", "bionic": "ubuntu 18.04", "focal": "ubuntu 20.04", "jammy": "ubuntu 22.04", "noble": "ubuntu 24.04", "resolute": "ubuntu 26.04",
	"lunar": "ubuntu 23.04", "mantic": "ubuntu 23.10", "oracular": "ubuntu 24.10", "plucky": "ubuntu 25.04",
}

// repositories of rpm by the os-release ID of what they hold.
var rpmIDs = map[string]string{"ubi": "rhel", "centos-vault": "centos", "centos-altarch": "centos", "centos-stream": "centos-stream", "rocky": "rocky", "almalinux": "almalinux"}

// suiteEnd is what the sources of a bootstrap tell about the release.
func suiteEnd(op pipelines.Op) (name, end string) {
	b, ok := op.(pipelines.Bootstrap)
	if !ok || len(b.Sources) == 0 {
		return "", ""
	}
	src := b.Sources[0]
	switch b.Method {
	case "deb":
		name = codenames[src.Suite]
	case "apk":
		name = "alpine " + strings.TrimPrefix(path.Base(src.Suite), "v")
	case "rpm":
		major, _, _ := strings.Cut(strings.TrimPrefix(src.Suite, "dist/ubi"), "/")
		major, _, _ = strings.Cut(strings.TrimSuffix(major, "-stream"), ".")
		if src.Repository == "centos-vault" && strings.Contains(src.Suite, "-stream/") {
			name = "centos-stream " + major
			break
		}
		name = rpmIDs[src.Repository] + " " + major
	}
	return name, ends[name]
}
