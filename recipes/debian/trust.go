package debian

import (
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

const (
	// anchorDir is where update-ca-certificates(8) looks for the
	// administrator's authorities; packages never touch it.
	anchorDir = "/usr/local/share/ca-certificates"
	// bundle is what programs read.
	bundle = "/etc/ssl/certs/ca-certificates.crt"
)

// Trust makes an image of the Debian family trust certificate authorities, and
// says so in its labels: img.With(debian.Trust(s.ImageCAs())). It does nothing for
// none. Use it before the first step that reaches the network.
//
// Each authority becomes an anchor, a file in /usr/local/share/ca-certificates,
// and part of the merged bundle /etc/ssl/certs/ca-certificates.crt. Where the
// package ca-certificates is installed, its update-ca-certificates makes the
// bundle of the public roots and the anchors. Where it is not, the authorities are
// added to the bundle that is there, or become a bundle of their own, with hashed
// names beside it; once the package is installed later, it makes the bundle anew
// from the same anchors.
//
// Programs that read neither the bundle nor the hashed directory beside it get what
// [common.ClientTrust] has for them.
func Trust(cas []site.Certificate) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		for _, f := range anchors(cas) {
			img = img.Then(f)
		}
		return img.With(merge(cas), common.Env(clientEnv(cas)), common.Labels(common.CALabels(cas)))
	}
}

// anchors are files, so they are there before any command runs.
func anchors(cas []site.Certificate) []pipelines.File {
	var out []pipelines.File
	for _, c := range cas {
		out = append(out, pipelines.File{Path: anchor(c), Data: c.PEM})
	}
	files, _ := common.ClientTrust(cas, bundle)
	return append(out, files...)
}

func clientEnv(cas []site.Certificate) map[string]string {
	_, env := common.ClientTrust(cas, bundle)
	return env
}

func anchor(c site.Certificate) string { return anchorDir + "/" + c.Name + ".crt" }

// merge puts the anchors into the bundle.
func merge(cas []site.Certificate) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		if len(cas) == 0 {
			return img
		}
		var b strings.Builder
		var names []string
		links := common.Links(cas)
		b.WriteString("set -eu\nif [ -x /usr/sbin/update-ca-certificates ]; then\n\texec /usr/sbin/update-ca-certificates\nfi\n")
		fmt.Fprintf(&b, "bundle=%s\nmkdir -p \"${bundle%%/*}\"\n", bundle)
		for i, c := range cas {
			names = append(names, c.Name)
			if links[i] != "" { // as update-ca-certificates makes them, for OpenSSL's CApath
				fmt.Fprintf(&b, "ln -sfn %s \"${bundle%%/*}/%s\"\n", anchor(c), links[i])
			}
			fmt.Fprintf(&b, "grep -qsF '%s' \"$bundle\" || cat %s >> \"$bundle\"\n", telling(c.PEM), anchor(c))
		}
		b.WriteString("chmod 0644 \"$bundle\"\n")
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
