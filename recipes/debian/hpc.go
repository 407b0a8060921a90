package debian

import (
	"slices"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// homes is read by login shells (the image's command is one). What lies below a
// home directory cannot be a variable of the image: those are fixed when it is
// made, and at that time HOME is root's.
const homes = `# What people install below their home directories: conda, pip --user, CPAN.
if [ -n "${HOME-}" ]; then
	PATH="$HOME/miniconda3/bin:$HOME/.local/bin:$HOME/perl5/bin${PATH:+:$PATH}"
	PERL5LIB="$HOME/perl5/lib/perl5${PERL5LIB:+:$PERL5LIB}"
	PERL_LOCAL_LIB_ROOT="$HOME/perl5${PERL_LOCAL_LIB_ROOT:+:$PERL_LOCAL_LIB_ROOT}"
	PERL_MB_OPT="--install_base \"$HOME/perl5\""
	PERL_MM_OPT="INSTALL_BASE=$HOME/perl5"
	export PATH PERL5LIB PERL_LOCAL_LIB_ROOT PERL_MB_OPT PERL_MM_OPT
fi
`

// HPC is an image for interactive and batch work at a computing centre, as figures
// 16 and 17 of the ORNL report have it: bookworm with pip and venv, R, CPAN.pm and
// git, the site's indexes in the configuration of all of them and of conda, and no
// sudo or ssh (NCCS best practices 2.8).
func HPC(s site.Site, p pipelines.Platform) pipelines.Image {
	return New(hpcOptions)(s, p).Then(
		pipelines.File{Path: "/etc/profile.d/homes.sh", Data: []byte(homes)},
		pipelines.Configure{Cmd: []string{"bash", "-l"}},
	)
}

var hpcOptions = Options{
	Suite:     "bookworm",
	Include:   []string{"ca-certificates", "curl", "git", "make", "perl", "python3-pip", "python3-venv", "r-base-core"},
	Languages: common.AllIndexes,
	Labels:    map[string]string{"org.opencontainers.image.title": "Debian 12 (bookworm) for HPC"},
}

func hpc(s site.Site) pipelines.Target {
	t := target(s, hpcOptions)
	t.Name, t.Aliases = "debian12-hpc", []string{"bookworm-hpc"}
	t.Description = "Debian 12 (bookworm) with pip, R, CPAN and git, and the site's indexes"
	t.Build = func(p pipelines.Platform) pipelines.Image { return HPC(s, p) }
	t.Tests = slices.Concat(t.Tests, pipelines.Tests(
		pipelines.TestPackage{Name: "python3-pip"},
		pipelines.TestPackage{Name: "r-base-core", Version: "4.*"},
		pipelines.TestPackage{Name: "openssh-client", Absent: true},
		pipelines.TestUser{Name: "www-data", Shell: "/usr/sbin/nologin"},
		pipelines.TestLabel{Name: "org.opencontainers.image.title", Value: hpcOptions.Labels["org.opencontainers.image.title"]},
		pipelines.TestEnv{Name: "PERL5LIB", Absent: true},
		pipelines.TestFile{Path: "/etc/pip.conf", Mode: 0o644, Owner: "0:0", Contains: []string{"index-url = "}},
		pipelines.TestFile{Path: "/etc/conda/.condarc", Mode: 0o644, Contains: []string{"channel_alias: "}},
		pipelines.TestFile{Path: "/etc/skel/.condarc", Mode: 0o644},
		pipelines.TestFile{Path: "/etc/skel/.Rprofile", Mode: 0o644},
		pipelines.TestFile{Path: "/etc/skel/.cpan/CPAN/MyConfig.pm", Mode: 0o644},
		pipelines.TestFile{Path: "/etc/ssl/certs/ca-certificates.crt", Contains: []string{"-----BEGIN CERTIFICATE-----"}},
		pipelines.TestCommand{Name: "pip reads its configuration", Args: []string{"pip3", "config", "list"}, Output: []string{"global.index-url="}},
		pipelines.TestCommand{Name: "a virtual environment", Shell: "python3 -m venv /tmp/v\n/tmp/v/bin/pip --version", Output: []string{"/tmp/v/"}},
		pipelines.TestCommand{Name: "R has a repository and starts quietly", Args: []string{"Rscript", "-e", `cat(names(getOption("repos"))[1], nchar(getOption("repos")[[1]]) > 10)`}, Output: []string{"CRAN TRUE"}},
		pipelines.TestCommand{Name: "R in a new account", Shell: "HOME=$(mktemp -d)\nexport HOME\ncp -r /etc/skel/. $HOME\ncd $HOME\nR --quiet --no-save -e '1 + 1'", Output: []string{"[1] 2"}},
		pipelines.TestCommand{Name: "CPAN.pm asks nothing", Shell: `perl -MCPAN -e 'CPAN::HandleConfig->load; print "first is $CPAN::Config->{urllist}[0], missing: ", join(",", CPAN::HandleConfig->missing_config_data), ".\n"' </dev/null`,
			Output: []string{"first is http", "missing: ."}},
		pipelines.TestCommand{Name: "login shells find what is below the home directory", Args: []string{"bash", "-lc", "echo $PATH $PERL5LIB $PERL_MM_OPT"},
			Output: []string{"/root/miniconda3/bin:/root/.local/bin:/root/perl5/bin", "/root/perl5/lib/perl5", "INSTALL_BASE=/root/perl5"}},
		pipelines.TestCommand{Name: "git and curl", Shell: "git --version\ncurl --version", Output: []string{"git version", "OpenSSL"}},
	))
	return t
}
