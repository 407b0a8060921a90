package suse

import (
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

// store is SUSE's.
var store = common.Store{
	Anchors: anchorDir, Ending: ".pem",
	Bundle: bundle,
	Update: "/usr/sbin/update-ca-certificates",
	Dirs:   []string{"/etc/ssl"},
	After:  "[ -e /etc/ssl/ca-bundle.pem ] || ln -s \"$bundle\" /etc/ssl/ca-bundle.pem\n",
}

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
func Trust(cas []site.Certificate) func(pipelines.Image) pipelines.Image { return store.Trust(cas) }
