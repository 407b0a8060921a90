package debian

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// bundle is what programs read.
const bundle = "/etc/ssl/certs/ca-certificates.crt"

// store is the Debian family's.
var store = common.Store{
	Anchors: "/usr/local/share/ca-certificates", Ending: ".crt", // where update-ca-certificates(8) looks
	Bundle: bundle,
	Update: "/usr/sbin/update-ca-certificates",
	Hashed: true,
}

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
func Trust(cas []site.Certificate) func(pipelines.Image) pipelines.Image { return store.Trust(cas) }
