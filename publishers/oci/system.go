package oci

import (
	"fmt"

	"github.com/cfbuild/cfbuild/internal/registries"
	"github.com/cfbuild/cfbuild/publishers"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/docker/config"
	"go.podman.io/image/v5/types"
)

// system says how to talk to the registry of a repository.
func (p *Publisher) system(repo reference.Named, insecure bool) (*types.SystemContext, error) {
	var auth *types.DockerAuthConfig
	if c, ok := p.credential(repo); ok {
		auth = &types.DockerAuthConfig{Username: c.User, Password: c.Password}
	}
	return registries.System(p.o.Site, insecure, p.o.AuthFile, auth)
}

// credential finds the credential given as a value for a repository's registry.
func (p *Publisher) credential(repo reference.Named) (publishers.Credential, bool) {
	return registries.Credential(p.o.Credentials, repo)
}

// loginHint says how to mend a refused login.
func (p *Publisher) loginHint(repo reference.Named, sys *types.SystemContext) string {
	host := reference.Domain(repo)
	if c, ok := p.credential(repo); ok {
		from := c.From
		if from == "" {
			from = "the given credentials"
		}
		return fmt.Sprintf("%s refused user %q (%s): check that it is current and may push to %s", host, c.User, from, reference.Path(repo))
	}
	where := "the usual auth files"
	if p.o.AuthFile != "" {
		where = p.o.AuthFile
	}
	auth, err := config.GetCredentialsForRef(sys, repo)
	switch {
	case err != nil:
		return fmt.Sprintf("the credentials for %s could not be read from %s: mend it, or log in again with \"podman login %s\"", host, where, host)
	case auth == (types.DockerAuthConfig{}):
		return fmt.Sprintf("no credentials for %s in %s: run \"podman login %s\" or \"docker login %s\", set REGISTRY_AUTH_FILE, or in a GitLab job CI_REGISTRY, CI_REGISTRY_USER and CI_REGISTRY_PASSWORD",
			host, where, host, host)
	}
	return fmt.Sprintf("%s refused the credentials in %s for %s: log in again with \"podman login %s\" as a user who may push there", host, where, reference.Path(repo), host)
}
