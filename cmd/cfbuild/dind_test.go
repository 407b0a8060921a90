//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/dockerdtest"
	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// job is a GitLab job with the service docker:dind: the service is called docker, and its
// certificates are in a volume of both.
type job struct{ *world }

// newJob has a state directory of its own, as a throw-away runner.
func newJob(t *testing.T, d *dockerdtest.Daemon) *job {
	t.Helper()
	w := newWorld(t, nil)
	// BuildKit's programs beside the program, so that the daemon pulls nothing.
	programs := buildkitdtest.Programs(t)
	for _, p := range []string{"buildkitd", "buildctl", "runc"} {
		if err := os.Symlink(filepath.Join(programs, p), filepath.Join(w.dir, p)); err != nil {
			t.Fatal(err)
		}
	}
	w.env = []string{"DOCKER_HOST=tcp://docker:2376", "DOCKER_TLS_CERTDIR=" + d.Certs,
		"DOCKER_CERT_PATH=" + filepath.Join(d.Certs, "client"), "DOCKER_TLS_VERIFY=1"}
	return &job{w}
}

func (j *job) run(t *testing.T, address string, args ...string) (rep report, stderr string, code int) {
	t.Helper()
	hosts := filepath.Join(j.dir, "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"+address+" docker\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	j.wrap = []string{"unshare", "--mount", "sh", "-euc", `mount --bind "$0" /etc/hosts; exec "$@"`, hosts}
	return j.try(args...)
}

// What the documents say of GitLab's docker:dind service, for real.
func TestDockerInDocker(t *testing.T) {
	testneed.Root(t)
	reg := registrytest.Start(t)
	site := filepath.Join(t.TempDir(), "site.toml")
	text, err := os.ReadFile(frozenSite(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(site, fmt.Appendf(text, "\n[[registry]]\nprefix = %q\ninsecure = true\n", reg.Host()), 0o644); err != nil {
		t.Fatal(err)
	}
	// What needs no daemon makes the same. Emulated it is slow, so there the two daemons'
	// are compared.
	w := newWorld(t, nil)
	want := w.run("debian12", "--site", site, "--platform", "linux/amd64", "--format", "oci,docker").digests()

	for i, kind := range []dockerdtest.Options{{}, {Newer: true}} {
		// The port that the service has; each daemon has an address of its own.
		address := fmt.Sprintf("127.99.%d.%d", os.Getpid()%250, i+1)
		kind.Address = address + ":2376"
		d := dockerdtest.Start(t, kind)
		repo := fmt.Sprintf("%s/group/debian12-%d", reg.Host(), i)
		args := []string{"run", "debian12", "--json", "--site", site, "--platform", both, "--builder", "buildkit:docker", "--push", repo, "--tag", "12"}
		j := newJob(t, d)
		rep, stderr, code := j.run(t, address, args...)
		if code != 0 || len(rep.Receipts) != 1 {
			t.Fatalf("Docker %s: exit code %d\n%s", d.Version, code, stderr)
		}
		got := rep.digests()
		for job, digest := range want {
			if got[job] != digest {
				t.Errorf("Docker %s: %s is %s; without a daemon, or with another, %s", d.Version, job, got[job], digest)
			}
		}
		if want = got; len(want) != 2 {
			t.Errorf("Docker %s: %v", d.Version, got)
		}
		list := decode[manifestList](t, tool(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+repo+":12"))
		if list.MediaType != "application/vnd.docker.distribution.manifest.list.v2+json" || len(list.Manifests) != 2 {
			t.Errorf("Docker %s: %+v", d.Version, list)
		}

		// The next job, on an empty machine with the same daemon: all steps are cached there.
		next := newJob(t, d)
		rep, stderr, code = next.run(t, address, append(args, "--progress", "plain")...)
		if code != 0 || fmt.Sprint(rep.digests()) != fmt.Sprint(want) {
			t.Fatalf("Docker %s, again: exit code %d, %v\n%s", d.Version, code, rep.digests(), stderr)
		}
		if strings.Contains(stderr, "Setting up") { // dpkg, in a step that runs
			t.Errorf("Docker %s: a step ran again:\n%s", d.Version, stderr)
		}

		// What jobs have left in the daemon is listed, and taken out.
		if _, stderr, code := next.run(t, address, "workers", "--builder", "buildkit:docker"); code != 0 {
			t.Errorf("Docker %s: workers: exit code %d\n%s", d.Version, code, stderr)
		}
		if _, stderr, code := next.run(t, address, "workers", "remove", "--builder", "buildkit:docker"); code != 0 {
			t.Errorf("Docker %s: workers remove: exit code %d\n%s", d.Version, code, stderr)
		}
		for _, what := range [][]string{{"ps", "-aq"}, {"images", "-q"}, {"volume", "ls", "-q"}} {
			if out, err := d.Command(what...).CombinedOutput(); err != nil || len(out) != 0 {
				t.Errorf("Docker %s: docker %v: %v, %s", d.Version, what, err, out)
			}
		}

		// The archive is what docker load takes.
		for _, c := range []struct{ args, want string }{
			{"load -i " + filepath.Join(w.dir, "out", "debian12-amd64.docker.tar"), "Loaded image: debian12:latest"},
			{"run --rm --network none debian12:latest cat /etc/debian_version", "12."},
		} {
			if out, err := d.Command(strings.Fields(c.args)...).CombinedOutput(); err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("Docker %s: docker %s: %v, %s", d.Version, c.args, err, out)
			}
		}

		// Another daemon's certificates.
		next.env = append(next.env, "DOCKER_CERT_PATH="+t.TempDir())
		if _, stderr, code := next.run(t, address, args...); code != 4 || !strings.Contains(stderr, "ca.pem") {
			t.Errorf("without certificates: exit code %d\n%s", code, stderr)
		}
		next.env = []string{"DOCKER_HOST=tcp://docker:2376", "DOCKER_TLS_VERIFY="}
		if _, stderr, code := next.run(t, address, args...); code != 4 || !strings.Contains(stderr, "tls=off") {
			t.Errorf("plain: exit code %d\n%s", code, stderr)
		}
	}
}
