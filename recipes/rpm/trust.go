package rpm

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// bundle is what programs read, by way of links such as
// /etc/pki/tls/certs/ca-bundle.crt.
const bundle = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"

// store is the Red Hat family's.
var store = common.Store{
	Anchors: "/etc/pki/ca-trust/source/anchors", Ending: ".pem", // where update-ca-trust(8) looks
	Bundle: bundle,
	Update: "/usr/bin/update-ca-trust extract",
	Dirs:   []string{"/etc/pki/tls/certs"},
	After:  "[ -e /etc/pki/tls/certs/ca-bundle.crt ] || ln -s \"$bundle\" /etc/pki/tls/certs/ca-bundle.crt\n",
}

// Trust makes an image of the Red Hat family trust certificate authorities, and
// says so in its labels: img.With(rpm.Trust(s.ImageCAs())). It does nothing for none.
// Use it before the first step that reaches the network.
//
// Each authority becomes an anchor, a file in /etc/pki/ca-trust/source/anchors, and
// part of the merged bundles below /etc/pki/ca-trust/extracted. update-ca-trust of
// the package ca-certificates makes them (for OpenSSL, GnuTLS, Java and edk2) from
// the public roots and the anchors, now and whenever the package is upgraded. Where
// the package is not installed, the authorities are added to the bundle that is
// there, or become a bundle of their own at the path that the package has.
//
// Programs that read neither of them get what [common.ClientTrust] has for them.
func Trust(cas []site.Certificate) func(pipelines.Image) pipelines.Image { return store.Trust(cas) }
