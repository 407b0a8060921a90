package suse

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
)

// tests hold for every image of the family.
func (o Options) tests() []pipelines.Test {
	r := o.release()
	out := append(common.BaseTests(fmt.Sprintf("ID=%q", r.id), fmt.Sprintf("VERSION_ID=%q", r.version)),
		pipelines.TestLabel{Name: "org.opencontainers.image.version", Value: r.version},
		pipelines.TestPackage{Name: "zypper"},
		pipelines.TestPackage{Name: "ca-certificates"},
		pipelines.TestPackage{Name: "sudo", Absent: true},
		pipelines.TestPackage{Name: "openssh", Absent: true},
		pipelines.TestFile{Path: bundle, Contains: []string{"-----BEGIN CERTIFICATE-----"}},
		pipelines.TestCommand{Name: "no repository goes unchecked", Shell: `! grep -l 'gpgcheck *= *0' /etc/zypp/repos.d/*.repo`},
		pipelines.TestCommand{Name: "rpm finds every dependency", Args: []string{"rpm", "-Va", "--nofiles"}},
		pipelines.TestCommand{Name: "no caches and logs of zypper are left", Shell: `test -z "$(find /var/cache/zypp /var/log/zypp /var/log/zypper.log -type f 2>/dev/null)"`},
	)
	if r.locale != "" {
		out = append(out, pipelines.TestEnv{Name: "LC_ALL", Value: r.locale},
			pipelines.TestCommand{Name: "no locale is missing", Shell: `printf 'caf\303\251' | wc -m`, Output: []string{"4"}})
	}
	for _, x := range r.repositories {
		out = append(out, pipelines.TestFile{Path: reposDir + "/" + x.id + ".repo", Mode: 0o644, Owner: "0:0"})
		if x.off {
			continue
		}
		out = append(out, pipelines.TestFile{Path: x.key(), Contains: []string{"-----BEGIN PGP PUBLIC KEY BLOCK-----"}})
	}
	return pipelines.Tests(out...)
}
