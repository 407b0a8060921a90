package common

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// ClientTrust gives what programs need that do not read the system's bundle of
// certificate authorities by themselves (Java, Node, Python's requests, conda):
// files, and variables of the image's environment. bundle is the path of the merged
// bundle in the image. Nothing for no authorities.
func ClientTrust(cas []site.Certificate, bundle string) (files []pipelines.File, env map[string]string) {
	return nil, nil
}
