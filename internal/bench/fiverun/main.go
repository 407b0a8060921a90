//go:build containers_image_openpgp && exclude_graphdriver_btrfs

// Command fiverun is a cfbuild program with two targets: "five", five RUN steps on top of
// an OCI layout that FIVERUN_BASE names, and "copy", which then copies the directory that
// FIVERUN_CONTEXT names. The benchmarks time it beside buildah and BuildKit's clients with
// the same steps.
package main

import (
	"os"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/cmd/cli"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers/oci"
	"github.com/cfbuild/cfbuild/site"
)

func main() {
	if buildah.Child() {
		return
	}
	base, context := os.Getenv("FIVERUN_BASE"), os.Getenv("FIVERUN_CONTEXT")
	os.Exit(cli.Main(cli.App{
		Name: "fiverun",
		Pipeline: func(site.Site) pipelines.Pipeline {
			five := func(p pipelines.Platform) pipelines.Image {
				return pipelines.From(p, pipelines.Layout{Path: base}).Then(
					pipelines.Run{Shell: "echo one > /one"},
					pipelines.Run{Shell: "cp /one /two && find /etc -type f | sort > /etc-files"},
					pipelines.Run{Shell: "mkdir -p /srv/app && for i in $(seq 100); do echo $i > /srv/app/$i; done"},
					pipelines.Run{Shell: "sha256sum /srv/app/* > /sums"},
					pipelines.Run{Shell: "grep -c . /sums > /count"},
				)
			}
			return pipelines.Pipeline{Name: "bench", Targets: []pipelines.Target{
				{Name: "five", Build: five},
				{Name: "copy", Build: func(p pipelines.Platform) pipelines.Image {
					return five(p).Then(pipelines.Copy{From: pipelines.From(p, pipelines.Local{Path: context}), Src: []string{"*"}, Dst: "/srv/context/"})
				}},
			}}
		},
		Backends: []builders.Backend{buildah.Backend(), buildkit.Backend()},
		Publisher: func(o cli.PublisherOptions) cli.Publisher {
			return oci.New(oci.Options{Site: o.Site, Credentials: o.Credentials, AuthFile: o.AuthFile, Project: o.Project, TempDir: o.TempDir})
		},
	}))
}
