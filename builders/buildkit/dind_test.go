//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit_test

import (
	"net/url"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/builders/builderstest"
	"github.com/cfbuild/cfbuild/builders/buildkit"
	"github.com/cfbuild/cfbuild/builders/buildkit/dind"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/dockerdtest"
	"github.com/moby/buildkit/client"
)

// dockerOpener gives builders with a state directory of their own, on a Docker daemon whose
// BuildKit's cache is emptied each time.
func dockerOpener(t *testing.T, d *dockerdtest.Daemon, embedded bool) func(t *testing.T) builders.Builder {
	t.Helper()
	env := map[string]string{"DOCKER_HOST": d.Host, "DOCKER_CERT_PATH": d.Certs + "/client", "DOCKER_TLS_VERIFY": "1"}
	programs := buildkitdtest.Programs(t)
	o, err := dind.FromQuery(url.Values{"binaries": {programs}}, dind.Environment{Host: env["DOCKER_HOST"], CertPath: env["DOCKER_CERT_PATH"]})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := dind.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if engine.Embedded != embedded {
		t.Fatalf("Docker %s: embedded: %v", engine.Engine, engine.Embedded)
	}
	c, err := client.New(t.Context(), dind.Authority, engine.ClientOpts()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := engine.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return func(t *testing.T) builders.Builder {
		t.Helper()
		if err := c.Prune(t.Context(), nil, client.PruneAll); err != nil {
			t.Fatal(err)
		}
		b, err := buildkit.Backend().Open(t.Context(), builders.Options{Address: "docker?binaries=" + url.QueryEscape(programs), StateDir: t.TempDir(),
			Getenv: func(n string) string { return env[n] }, Log: testLog{t}, Warn: func(s string) { t.Error("warned: " + s) }})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// Docker 20.10 has a BuildKit of no use: ours runs in a container of it.
func TestConformanceDocker(t *testing.T) {
	builderstest.Run(t, dockerOpener(t, dockerdtest.Start(t, dockerdtest.Options{}), false))
}

// Docker 26.1 with containerd's image store has one of its own.
func TestConformanceDockerEmbedded(t *testing.T) {
	builderstest.Run(t, dockerOpener(t, dockerdtest.Start(t, dockerdtest.Options{Newer: true}), true))
}
