package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// comparisons are the product's speed goals. Peers get the same mirror and the
// same package set (usr-is-merged in place of usrmerge).
func comparisons(cfbuild, five, mirror, work string, d *daemons) ([]comparison, error) {
	state, out := filepath.Join(work, "state"), filepath.Join(work, "out")
	clear := func() error { return removeAll(state, out) }
	run := func(arch string) []string {
		return []string{cfbuild, "run", "debian12", "--site", "host", "--platform", "linux/" + arch, "--state-dir", state,
			"--output", out, "--push", "never", "--progress", "plain"}
	}
	sh := func(script string) []string { return []string{"sh", "-ec", script} }
	mm := func(arch string) side {
		return side{name: "mmdebstrap | gzip", run: sh(fmt.Sprintf(
			"mmdebstrap --variant=minbase --include=usr-is-merged --architectures=%s bookworm - %s | gzip > %s/peer.tar.gz", arch, mirror, work))}
	}
	base := filepath.Join(work, "base")
	fiveState := filepath.Join(work, "five-state")
	fiveRun := []string{five, "run", "five", "--state-dir", fiveState, "--output", filepath.Join(work, "five-out"), "--push", "never", "--progress", "plain"}
	warmState := filepath.Join(work, "warm-state")
	prepared := false
	prepare := func() error { // one debian12 as the local base of the five steps
		if prepared {
			return nil
		}
		prepared = true
		if err := quiet(cfbuild, "run", "debian12", "--site", "host", "--state-dir", warmState, "--output", filepath.Join(work, "warm-out"), "--push", "never"); err != nil {
			return err
		}
		if err := os.Symlink(filepath.Join(work, "warm-out", "debian12"), base); err != nil {
			return err
		}
		if err := os.Setenv("FIVERUN_BASE", base); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, "Containerfile"), []byte(containerfile), 0o644); err != nil {
			return err
		}
		id, err := exec.Command("buildah", "--root", buildahRoot(work), "--runroot", buildahRoot(work)+"-run", "pull", "-q", "oci:"+base).Output()
		if err != nil {
			return fmt.Errorf("buildah pull: %w", err)
		}
		return os.WriteFile(filepath.Join(work, "base-id"), id, 0o644)
	}
	buildah := func(extra string) []string {
		return sh(fmt.Sprintf("cd %[1]s && img=$(cat base-id) && "+
			"buildah --root %[2]s --runroot %[2]s-run build -q --isolation chroot --layers %[3]s --build-arg BASE=$img -f Containerfile -t five . && "+
			"rm -rf %[1]s/five-oci && buildah --root %[2]s --runroot %[2]s-run push -q five oci:%[1]s/five-oci", work, buildahRoot(work), extra))
	}
	sifs, err := sifComparisons(cfbuild, work)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]comparison{
		{name: "cold debian12 linux/amd64 to a compressed OCI layout", wall: 0.35, cpu: 0.6,
			ours: side{name: "cfbuild", before: clear, run: run("amd64")},
			peers: []side{mm("amd64"), {name: "debootstrap + buildah", run: sh(fmt.Sprintf(
				`cd %[1]s && rm -rf deb && debootstrap --variant=minbase bookworm deb %[2]s >/dev/null && c=$(buildah --root %[3]s --runroot %[3]s-run from scratch) && `+
					`buildah --root %[3]s --runroot %[3]s-run add -q "$c" deb / >/dev/null && rm -rf deb-oci && buildah --root %[3]s --runroot %[3]s-run commit -q --rm "$c" oci:%[1]s/deb-oci`,
				work, mirror, buildahRoot(work)))}}},
		{name: "cold debian12 linux/arm64 (emulated configuration)", wall: 0.25,
			ours: side{name: "cfbuild", before: clear, run: run("arm64")}, peers: []side{mm("arm64")}},
		{name: "unchanged second run", absolute: "wall <= 0.30 s, largest process <= 300 MB",
			ours: side{name: "cfbuild", before: prepare, run: []string{cfbuild, "run", "debian12", "--site", "host", "--state-dir", warmState,
				"--output", filepath.Join(work, "warm-out"), "--push", "never", "--progress", "plain"}}},
		{name: "five RUN steps on a local base, cold", wall: 1,
			ours: side{name: "cfbuild", before: func() error {
				if err := prepare(); err != nil {
					return err
				}
				return removeAll(filepath.Join(fiveState, "artifacts"), filepath.Join(work, "five-out"))
			}, run: append(fiveRun[:len(fiveRun):len(fiveRun)], "--no-cache")},
			peers: []side{{name: "buildah build --layers", run: buildah("--no-cache")}}},
		{name: "five RUN steps on a local base, warm", wall: 0.5,
			ours:  side{name: "cfbuild", before: prepare, run: fiveRun},
			peers: []side{{name: "buildah build --layers", run: buildah("")}}},
	}, buildkitComparisons(cfbuild, five, mirror, work, d, prepare), sifs), nil
}

// containerfile does what the fiverun program does.
const containerfile = `ARG BASE
FROM ${BASE}
RUN echo one > /one
RUN cp /one /two && find /etc -type f | sort > /etc-files
RUN mkdir -p /srv/app && for i in $(seq 100); do echo $i > /srv/app/$i; done
RUN sha256sum /srv/app/* > /sums
RUN grep -c . /sums > /count
`

func buildahRoot(work string) string { return filepath.Join(work, "peer-storage") }

func removeAll(paths ...string) error {
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

func quiet(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return nil
}
