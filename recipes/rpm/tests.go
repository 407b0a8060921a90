package rpm

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
)

// tests hold for every image of the family.
func (o Options) tests() []pipelines.Test {
	r := o.release()
	id, version := fmt.Sprintf("ID=%q", r.id), fmt.Sprintf("VERSION_ID=\"%d", r.version)
	if o.Distribution == Fedora { // without quotes
		id, version = "ID="+r.id, fmt.Sprintf("VERSION_ID=%d", r.version)
	}
	conf := "/etc/dnf/dnf.conf"
	if r.tool == yum {
		conf = "/etc/yum.conf"
	}
	out := append(common.BaseTests(id, version),
		pipelines.TestEnv{Name: "LC_ALL", Value: r.locale()},
		pipelines.TestLabel{Name: "org.opencontainers.image.version", Value: fmt.Sprint(r.version)},
		pipelines.TestPackage{Name: string(r.tool)},
		pipelines.TestPackage{Name: "ca-certificates"},
		pipelines.TestPackage{Name: "sudo", Absent: true},
		pipelines.TestPackage{Name: "openssh-server", Absent: true},
		pipelines.TestFile{Path: conf, Mode: 0o644, Owner: "0:0", Contains: []string{"gpgcheck="}},
		pipelines.TestFile{Path: bundle, Contains: []string{"-----BEGIN CERTIFICATE-----"}},
		pipelines.TestCommand{Name: "every key that a repository names is there", Shell: `for key in $(sed -n 's,.*file://\(/etc/pki/rpm-gpg/[^ ]*\).*,\1,p' /etc/yum.repos.d/*.repo | sort -u); do
	test -s "$(echo "$key" | sed "s/\$basearch/$(uname -m)/")" || { echo "$key is missing"; exit 1; }
done`},
		pipelines.TestCommand{Name: "no repository goes unchecked", Shell: `! grep -l '^gpgcheck *= *0' /etc/yum.repos.d/*.repo`},
		pipelines.TestCommand{Name: "rpm finds every dependency", Args: []string{"rpm", "-Va", "--nofiles"}},
		pipelines.TestCommand{Name: "no caches and logs of " + string(r.tool) + " are left", Shell: `test -z "$(find /var/cache/dnf /var/cache/libdnf5 /var/cache/yum /var/log/dnf* /var/log/hawkey.log /var/log/yum.log -type f 2>/dev/null)"`},
		pipelines.TestCommand{Name: "no locale is missing", Shell: `printf 'caf\303\251' | wc -m`, Output: []string{"4"}},
	)
	for _, name := range o.repositoryFiles() {
		out = append(out, pipelines.TestFile{Path: reposDir + "/" + name, Mode: 0o644, Owner: "0:0"})
	}
	return pipelines.Tests(out...)
}

// repositoryFiles are the same on all platforms.
func (o Options) repositoryFiles() []string {
	var files []pipelines.File
	for _, x := range o.repositories(o.release().platforms()[0]) {
		files = add(files, pipelines.File{Path: x.file})
	}
	var out []string
	for _, f := range files {
		out = append(out, f.Path)
	}
	return out
}
