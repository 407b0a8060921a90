package suse

import (
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

const (
	// anchorDir is where update-ca-certificates(8) of SUSE looks for the
	// administrator's authorities; packages never touch it.
	anchorDir = "/etc/pki/trust/anchors"
	// bundle is what programs read, by way of the link /etc/ssl/ca-bundle.pem.
	bundle = "/var/lib/ca-certificates/ca-bundle.pem"
)

// Trust makes an image of the SUSE family trust certificate authorities, and says so
// in its labels: img.With(suse.Trust(s.ImageCAs())). It does nothing for none. Use it
// before the first step that reaches the network.
//
// Each authority becomes an anchor, a file in /etc/pki/trust/anchors, and part of
// what update-ca-certificates of the package ca-certificates makes in
// /var/lib/ca-certificates (the bundle, the hashed directory, the store of Java),
// now and whenever the package is upgraded. Where the package is not installed, the
// authorities are added to the bundle that is there, or become a bundle of their own
// at the path that the package has.
//
// Programs that read none of them get what [common.ClientTrust] has for them.
func Trust(cas []site.Certificate) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		files, env := common.ClientTrust(cas, bundle)
		for _, f := range append(anchors(cas), files...) {
			img = img.Then(f)
		}
		return img.With(merge(cas), common.Env(env), common.Labels(common.CALabels(cas)))
	}
}

// anchors are files, so they are there before any command runs.
func anchors(cas []site.Certificate) []pipelines.File {
	var out []pipelines.File
	for _, c := range cas {
		out = append(out, pipelines.File{Path: anchor(c), Data: c.PEM})
	}
	return out
}

func anchor(c site.Certificate) string { return anchorDir + "/" + c.Name + ".pem" }

// merge puts the anchors into the bundles, without a network.
func merge(cas []site.Certificate) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		if len(cas) == 0 {
			return img
		}
		var b strings.Builder
		var names []string
		b.WriteString("set -eu\nif [ -x /usr/sbin/update-ca-certificates ]; then\n\texec /usr/sbin/update-ca-certificates\nfi\n")
		fmt.Fprintf(&b, "bundle=%s\nmkdir -p \"${bundle%%/*}\" /etc/ssl\n", bundle)
		for _, c := range cas {
			names = append(names, c.Name)
			fmt.Fprintf(&b, "grep -qsF '%s' \"$bundle\" || cat %s >> \"$bundle\"\n", telling(c.PEM), anchor(c))
		}
		b.WriteString("chmod 0644 \"$bundle\"\n[ -e /etc/ssl/ca-bundle.pem ] || ln -s \"$bundle\" /etc/ssl/ca-bundle.pem\n")
		return img.Then(pipelines.Run{Name: "trust " + strings.Join(names, ", "), Shell: b.String(), Network: pipelines.NetworkNone})
	}
}

// telling is a line of a certificate that no other has: the last whole one of its
// base64 text, which is part of the signature.
func telling(pem []byte) string {
	last := ""
	for line := range strings.Lines(string(pem)) {
		if line = strings.TrimSpace(line); len(line) == 64 {
			last = line
		}
	}
	return last
}
