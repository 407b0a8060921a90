//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/alpine"
	"github.com/cfbuild/cfbuild/recipes/rpm"
	"github.com/cfbuild/cfbuild/site"
)

// caRPMClients are packages of the synthetic distribution, by the names of Debian's
// packages that it is made of.
var caRPMClients = []string{"curl", "wget", "git", "openssl", "python3-pip"}

// caForeignTargets are images of other families with clients for the proof.
func caForeignTargets(s site.Site) []pipelines.Target {
	return []pipelines.Target{{Name: "cacentos9", Build: func(p pipelines.Platform) pipelines.Image {
		return rpm.New(rpm.Options{Distribution: rpm.CentOS, Release: 9, EPEL: rpm.EPELOff, Include: caRPMClients})(s, p).Then(
			// The programs are Debian's, and so is the path in their OpenSSL; Red Hat's
			// looks at the other end of this link.
			pipelines.File{Path: "/usr/lib/ssl/cert.pem", Link: "/etc/pki/tls/cert.pem"})
	}}, {Name: "caalpine", Build: func(p pipelines.Platform) pipelines.Image {
		return alpine.New(alpine.Options{Release: "3.24"})(s, p)
	}}}
}

// The Red Hat family's trust: an image of the synthetic distribution, on two
// platforms, with its own dnf; and dnf in a step while building, which heeds no
// variable.
func TestInspectionProofOfRPM(t *testing.T) {
	w := newWorld(t, nil)
	_, siteFile := rpmMirror(t, caRPMClients...)
	file := siteFile(w.dir)
	const want = "curl, wget, git, openssl, python, pip, dnf, yum"
	rep, _ := w.proveCA(0, "cacentos9", "--site", file, "--platform", both)
	if len(rep.Images) != 2 {
		t.Errorf("%d images", len(rep.Images))
	}
	for _, i := range rep.Images {
		var green []string
		for _, c := range i.Clients {
			if c.Status == "passed" {
				green = append(green, c.Client)
			}
		}
		if got := strings.Join(green, ", "); got != want {
			t.Errorf("%s: green are %s\nwant %s", i.Platform, got, want)
		}
	}
	step, _ := w.proveCA(0, "cacentos9", "--site", file, "--ca-mode", "build-only")
	if got := strings.Join(step.with(t, "cacentos9", "passed"), ", "); got != want {
		t.Errorf("build-only: green are %s", got)
	}
	keepMatrix(t, "rpm", rep, step)
}

// Alpine's trust, with the real apk and busybox, where there is an image of Alpine:
// Debian's busybox does not check certificates, so the small Alpine proves nothing.
func TestInspectionProofOfAlpine(t *testing.T) {
	apkrepo.Root(t)
	w := newWorld(t, nil)
	file, _, _ := alpineRepositories(t, w, realPackages)
	args := []string{"caalpine", "--site", file, "--platform", "linux/amd64"}
	const want = "wget, apk"
	rep, _ := w.proveCA(0, args...)
	step, _ := w.proveCA(0, append(args, "--ca-mode", "build-only")...)
	for _, r := range []caReport{rep, step} {
		if got := strings.Join(r.with(t, "caalpine", "passed"), ", "); got != want {
			t.Errorf("%s: green are %s, want %s", r.Mode, got, want)
		}
	}
	keepMatrix(t, "apk", rep, step)
}
