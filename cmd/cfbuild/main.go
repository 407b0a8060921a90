//go:build containers_image_openpgp && exclude_graphdriver_btrfs

// Command cfbuild builds operating system base images. This file is the
// composition root: it lists what the program is made of, and nothing else.
package main

import (
	"os"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk"
	"github.com/cfbuild/cfbuild/bootstrap/deb"
	"github.com/cfbuild/cfbuild/bootstrap/rpm"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/apptainer"
	"github.com/cfbuild/cfbuild/builders/buildah"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/cmd/cli"
	"github.com/cfbuild/cfbuild/publishers/oci"
	"github.com/cfbuild/cfbuild/recipes"
)

func main() {
	if buildah.Child() || apptainer.Child() { // a builder that the program started
		return
	}
	os.Exit(cli.Main(cli.App{
		Pipeline:      recipes.Pipeline,
		Backends:      []builders.Backend{buildah.Backend(), buildkit.Backend(), apptainer.Backend()},
		Bootstrappers: []bootstrap.Bootstrapper{deb.New(deb.Options{}), rpm.New(rpm.Options{}), apk.New(apk.Options{})},
		Publisher: func(o cli.PublisherOptions) cli.Publisher {
			return oci.New(oci.Options{Site: o.Site, Credentials: o.Credentials, AuthFile: o.AuthFile, Project: o.Project, TempDir: o.TempDir})
		},
	}))
}
