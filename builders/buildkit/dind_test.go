//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit_test

import (
	"context"
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

// engine is a Docker daemon, and a connection of ours to its BuildKit.
type engine struct {
	env      map[string]string
	programs string
	client   *client.Client
}

// startEngine starts one that ends with t.
func startEngine(t *testing.T, o dockerdtest.Options, embedded bool) *engine {
	t.Helper()
	d := dockerdtest.Start(t, o)
	e := &engine{programs: buildkitdtest.Programs(t),
		env: map[string]string{"DOCKER_HOST": d.Host, "DOCKER_CERT_PATH": d.Certs + "/client", "DOCKER_TLS_VERIFY": "1"}}
	options, err := dind.FromQuery(url.Values{"binaries": {e.programs}}, dind.Environment{Host: e.env["DOCKER_HOST"], CertPath: e.env["DOCKER_CERT_PATH"]})
	if err != nil {
		t.Fatal(err)
	}
	held, err := dind.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if held.Embedded != embedded {
		t.Fatalf("Docker %s: embedded: %v", held.Engine, held.Embedded)
	}
	if e.client, err = client.New(t.Context(), dind.Authority, held.ClientOpts()...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.client.Close()
		if err := held.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// dockerOpener gives builders as opener does, on Docker daemons.
func dockerOpener(t *testing.T, o dockerdtest.Options, embedded bool) func(t *testing.T) builders.Builder {
	var engines []*engine
	opened := 0
	return func(st *testing.T) builders.Builder {
		st.Helper()
		i := opened
		if opened++; i > 2 {
			i = 1 + (i+1)%2
		}
		if i == len(engines) {
			engines = append(engines, startEngine(t, o, embedded))
		} else if err := engines[i].client.Prune(st.Context(), nil, client.PruneAll); err != nil {
			st.Fatal(err)
		}
		e := engines[i]
		b, err := buildkit.Backend().Open(st.Context(), builders.Options{Address: "docker?binaries=" + url.QueryEscape(e.programs), StateDir: st.TempDir(),
			Getenv: func(n string) string { return e.env[n] }, Log: testLog{st}, Warn: func(s string) { st.Error("warned: " + s) }})
		if err != nil {
			st.Fatal(err)
		}
		return b
	}
}

// Docker 20.10 has a BuildKit of no use: ours runs in a container of it.
func TestConformanceDocker(t *testing.T) {
	builderstest.Run(t, dockerOpener(t, dockerdtest.Options{}, false))
}

// Docker 26.1 with containerd's image store has one of its own.
func TestConformanceDockerEmbedded(t *testing.T) {
	builderstest.Run(t, dockerOpener(t, dockerdtest.Options{Newer: true}, true))
}
