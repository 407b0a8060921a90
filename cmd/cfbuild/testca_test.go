//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

// caTargets are images with clients for the inspection proof.
func caTargets(s site.Site) []pipelines.Target {
	small := []string{"ca-certificates", "curl", "wget", "git", "openssl", "python3-pip", "liblwp-protocol-https-perl"}
	all := append(small[:len(small):len(small)], "python3-requests", "python3-venv", "nodejs", "npm", "default-jre-headless", "r-base-core", "ruby", "golang-go", "dnf", "zypper")
	var out []pipelines.Target
	add := func(name, suite string, include []string, then ...pipelines.Step) {
		out = append(out, pipelines.Target{Name: name, Build: func(p pipelines.Platform) pipelines.Image {
			return debian.New(debian.Options{Suite: suite, Include: include})(s, p).Then(then...)
		}})
	}
	add("ca11", "bullseye", small)
	add("ca12", "bookworm", all)
	add("ca13", "trixie", append(small[:len(small):len(small)], "nodejs", "default-jre-headless"))
	add("cabare", "bookworm", all, pipelines.Configure{Env: map[string]string{"NODE_EXTRA_CA_CERTS": "", "REQUESTS_CA_BUNDLE": ""}})
	return out
}
