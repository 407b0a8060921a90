package alpine

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// bundle is what programs read, also by the name /etc/ssl/cert.pem.
const bundle = "/etc/ssl/certs/ca-certificates.crt"

// store is Alpine's.
var store = common.Store{
	Anchors: "/usr/local/share/ca-certificates", Ending: ".crt", // where update-ca-certificates looks
	Bundle: bundle,
	Update: "/usr/sbin/update-ca-certificates",
	Hashed: true,
	// Old releases have a file where later ones have the link.
	Before: "[ -e /etc/ssl/cert.pem ] || ln -s certs/ca-certificates.crt /etc/ssl/cert.pem\n" +
		"[ -e \"$bundle\" ] || [ -L /etc/ssl/cert.pem ] || cp /etc/ssl/cert.pem \"$bundle\"\n",
	Others: []string{"/etc/ssl/cert.pem"},
}

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
func Trust(cas []site.Certificate) func(pipelines.Image) pipelines.Image { return store.Trust(cas) }
