package alpine

import (
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

const (
	// anchorDir is where update-ca-certificates looks for the administrator's
	// authorities; packages never touch it.
	anchorDir = "/usr/local/share/ca-certificates"
	// bundle is what programs read, also by the name /etc/ssl/cert.pem.
	bundle = "/etc/ssl/certs/ca-certificates.crt"
)

// Trust makes an Alpine image trust certificate authorities, and says so in its
// labels: img.With(alpine.Trust(s.ImageCAs())). It does nothing for none. Use it
// before the first step that reaches the network.
//
// Each authority becomes an anchor, a file in /usr/local/share/ca-certificates, and
// part of the merged bundle /etc/ssl/certs/ca-certificates.crt, which
// /etc/ssl/cert.pem is a link to. Where the package ca-certificates is installed, its
// update-ca-certificates makes the bundle of the public roots and the anchors, now and
// whenever either package of roots is upgraded. Where only ca-certificates-bundle is,
// as in Alpine's own image, the authorities are added to its bundle; that is a file
// below /etc that apk does not overwrite once it was changed, so that they stay, but
// the public roots are no longer upgraded: install ca-certificates for both.
//
// Programs that read neither of them get what [common.ClientTrust] has for them.
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

func anchor(c site.Certificate) string { return anchorDir + "/" + c.Name + ".crt" }

// merge puts the anchors into the bundle, without a network.
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
		// Old releases have a file where later ones have the link.
		b.WriteString("[ -e /etc/ssl/cert.pem ] || ln -s certs/ca-certificates.crt /etc/ssl/cert.pem\n" +
			"[ -e \"$bundle\" ] || [ -L /etc/ssl/cert.pem ] || cp /etc/ssl/cert.pem \"$bundle\"\n")
		for i, c := range cas {
			names = append(names, c.Name)
			if links[i] != "" { // as update-ca-certificates makes them, for OpenSSL's CApath
				fmt.Fprintf(&b, "ln -sfn %s \"${bundle%%/*}/%s\"\n", anchor(c), links[i])
			}
			fmt.Fprintf(&b, "for f in \"$bundle\" /etc/ssl/cert.pem; do grep -qsF '%s' \"$f\" || cat %s >> \"$f\"; done\n", telling(c.PEM), anchor(c))
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
