package debian

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
)

// tests hold for every image of the family that has apt.
func (o Options) tests() []pipelines.Test {
	r := o.release()
	return append(common.BaseTests("ID="+r.distribution, fmt.Sprintf("VERSION_ID=%q", r.version)), pipelines.Tests(
		pipelines.TestEnv{Name: "LC_ALL", Value: common.Locale},
		pipelines.TestLabel{Name: "org.opencontainers.image.version", Value: r.version},
		pipelines.TestPackage{Name: "apt"},
		pipelines.TestPackage{Name: "sudo", Absent: true},
		pipelines.TestPackage{Name: "openssh-server", Absent: true},
		pipelines.TestFile{Path: r.sourcesFile(), Mode: 0o644, Owner: "0:0", Contains: []string{"Signed-By: "}, Lacks: []string{"Trusted:"}},
		pipelines.TestFile{Path: "/usr/sbin/policy-rc.d", Mode: 0o755, Contains: []string{"exit 101"}},
		pipelines.TestFile{Path: r.keyring()},
		pipelines.TestCommand{Name: "dpkg finds every package sound", Shell: `test -z "$(dpkg --audit)" && ! dpkg-query -W -f '${db:Status-Status}\n' | grep -qvx installed`},
		pipelines.TestCommand{Name: "apt finds every dependency", Args: []string{"apt-get", "check"}},
		pipelines.TestCommand{Name: "no caches of apt are left", Shell: `test -z "$(find /var/cache/apt /var/lib/apt/lists -type f ! -name lock)"`},
		pipelines.TestCommand{Name: "no locale is missing", Shell: `perl -e 'use POSIX; exit 0' 2>&1 | grep -q . && exit 1; printf 'caf\303\251' | wc -m`, Output: []string{"4"}},
	)...)
}
