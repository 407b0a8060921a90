package cli

import (
	"context"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/distkeys"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/site"
)

// App is a program: what it builds and what it builds with.
type App struct {
	// Name of the program, default "cfbuild".
	Name string
	// Version, default: that of the main module in the build information.
	Version string
	// Pipeline gives the targets at a site. It is a pure function.
	Pipeline func(site.Site) pipelines.Pipeline
	// Backends in the order --builder auto tries them.
	Backends []builders.Backend
	// Bootstrappers make roots out of distribution packages.
	Bootstrappers []bootstrap.Bootstrapper
	// Keys gives the public keys that a suite of a repository is signed with, for
	// site check: OpenPGP, or PEM for Alpine; nil where none is known. Nil: those of
	// the distributions that have built-in targets. Debian's and Ubuntu's are always
	// known.
	Keys func(repository, suite string) []byte
	// Publisher makes what writes bundles and pushes.
	Publisher func(PublisherOptions) Publisher
}

// PublisherOptions is what the command line knows about publishing.
type PublisherOptions struct {
	Site site.Site
	// Credentials by registry host, from the CI_REGISTRY* variables and
	// DOCKER_AUTH_CONFIG.
	Credentials map[string]publishers.Credential
	// AuthFile is REGISTRY_AUTH_FILE; empty: docker's and podman's usual places.
	AuthFile string
	// Project is the GitLab project's repository (CI_REGISTRY_IMAGE).
	Project string
	// TempDir is a directory for what is too large for memory.
	TempDir string
}

// Publisher writes artifacts out, and asks registries. publishers/oci has the one
// in use.
type Publisher interface {
	engine.Publisher
	// Platforms asks a registry which platforms a reference offers and the
	// digest it stands for.
	Platforms(ctx context.Context, ref string) ([]pipelines.Platform, string, error)
}

func (a App) name() string {
	if a.Name == "" {
		return "cfbuild"
	}
	return a.Name
}

func (a App) keys() func(repository, suite string) []byte {
	if a.Keys == nil {
		return distkeys.Keys
	}
	return a.Keys
}
