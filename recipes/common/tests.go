package common

import "github.com/cfbuild/cfbuild/pipelines"

// BaseTests hold for a base image of every family: its programs are for its
// platform, /etc/os-release says what it should (osRelease are lines or parts of
// them), root is there, the build left nothing in the environment, and nothing in
// the directories that a runtime mounts over or that packages put caches into.
func BaseTests(osRelease ...string) []pipelines.Test {
	return pipelines.Tests(
		pipelines.TestPlatform{},
		pipelines.TestFile{Path: "/etc/os-release", Contains: osRelease},
		pipelines.TestUser{Name: "root", UID: "0"},
		pipelines.TestEnv{Name: "DEBIAN_FRONTEND", Absent: true},
		pipelines.TestEnv{Name: "http_proxy", Absent: true},
		pipelines.TestEnv{Name: "https_proxy", Absent: true},
		pipelines.TestFile{Path: "/tmp", Dir: true, Mode: 0o1777, Owner: "0:0"},
		pipelines.TestCommand{Name: "shell", Args: []string{"/bin/sh", "-c", "echo works"}, Output: []string{"works"}},
		pipelines.TestCommand{Name: "nothing is left in /tmp, /var/tmp, /home, /root/.cache", Shell: `for d in /tmp /var/tmp /home /root/.cache; do
	if [ -d $d ] && [ -n "$(ls -A $d)" ]; then ls -lA $d; exit 1; fi
done`},
	)
}
