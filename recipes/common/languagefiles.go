package common

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pipConf is pip's configuration file (pip documentation, "Configuration"). pip asks
// all indexes and takes the highest version that any has; of equal ones, from 20.3
// on, that of the index named last. So the preferred one comes last. An index that
// does not answer is passed over with a warning.
func pipConf(urls []string, bundle string) string {
	lines := []string{"[global]"}
	if n := len(urls) - 1; n > 0 {
		last := slices.Clone(urls)
		slices.Reverse(last)
		lines = []string{
			"# pip asks every index here and installs the highest version that one of them",
			"# has. Where versions are equal it takes that of the index named last, so the",
			"# site's comes last. Keep names of your own packages off public indexes, or",
			"# leave one index here.",
			"[global]",
			"index-url = " + last[0],
			"extra-index-url =", each(last[1:], func(u string) string { return "    " + u }),
			"# An index that is down is passed over, after one more try of ten seconds.",
			"timeout = 10",
			"retries = 1",
		}
	} else {
		lines = append(lines, "index-url = "+urls[0])
	}
	if bundle != "" {
		lines = append(lines, "# The public roots and the site's certificate authorities.", "cert = "+bundle)
	}
	return text(append(lines, "disable-pip-version-check = true")...)
}

// condarc is conda's configuration (conda documentation, "Using the .condarc conda
// configuration file" and "Mirroring channels"). conda itself has one place per
// channel; mirrored_channels is read by mamba and micromamba from 2.0 on, which take
// the mirrors in order.
func condarc(urls []string, bundle string) string {
	lines := []string{
		"# Channels by name come from the site.",
		"channel_alias: " + yaml(urls[0]),
		"channels:",
		"  - conda-forge",
		"# \"defaults\" is the same: Anaconda's own channels want a licence of most",
		"# laboratories and companies.",
		"default_channels:",
		"  - " + yaml(urls[0]+"/conda-forge"),
	}
	if len(urls) > 1 {
		lines = append(lines,
			"# conda knows one place for a channel and stops when it is down. Then:",
			each(urls[1:], func(u string) string {
				return "#   conda install --override-channels --channel " + u + "/conda-forge PACKAGE"
			}),
			"# mamba and micromamba 2 go on to the next mirror by themselves.",
			"mirrored_channels:",
			"  conda-forge:",
			each(urls, func(u string) string { return "    - " + yaml(u+"/conda-forge") }))
	}
	lines = append(lines, "remote_connect_timeout_secs: 10.0", "remote_max_retries: 2")
	if bundle != "" {
		lines = append(lines, "# The public roots and the site's certificate authorities.", "ssl_verify: "+yaml(bundle))
	}
	return text(lines...)
}

// yaml quotes a scalar; JSON strings are YAML's double-quoted ones.
func yaml(s string) string { return strconv.Quote(s) }

// rProfile is sourced by R when it starts, the site's and then the user's
// (R documentation, ?Startup). R asks all repositories, takes the newest version,
// and passes over one that does not answer with a warning. An error here would
// end R, so none gets out.
func rProfile(urls []string) string {
	lines := []string{
		"# CRAN from the site first. R passes over a repository that does not answer.",
		"tryCatch(local({",
		"    repos <- getOption(\"repos\")",
		"    repos <- repos[!grepl(\"^CRAN\", names(repos))]",
	}
	var pairs []string
	for i, u := range urls {
		name := "CRAN"
		if i > 0 {
			name += strconv.Itoa(i + 1)
		}
		pairs = append(pairs, fmt.Sprintf("%s = %s", name, strconv.Quote(u)))
	}
	return text(append(lines,
		"    options(repos = c("+strings.Join(pairs, ",\n                      ")+",",
		"                      repos))",
		"}), error = function(e) message(\"repositories are not set: \", conditionMessage(e)))")...)
}

// cpanConfig is CPAN.pm's configuration of one user (perldoc CPAN, "Config
// Variables"): complete, so that nothing is asked for, with paths below the home
// directory of whoever runs it. URLs are tried in order. With pushy_https CPAN.pm
// would ignore them and ask cpan.org alone.
func cpanConfig(urls []string) string {
	return text(
		"# CPAN.pm: modules from the site first, the next URL where one does not answer.",
		"# Every setting that CPAN.pm would ask for is here.",
		"my $home = ($ENV{HOME} || (getpwuid($>))[7]) . '/.cpan';",
		"my $find = sub { for my $dir (split /:/, $ENV{PATH} || '') { return \"$dir/$_[0]\" if -x \"$dir/$_[0]\" } '' };",
		"$CPAN::Config = {",
		"  'urllist' => [", each(urls, func(u string) string { return "    '" + u + "/'," }), "  ],",
		"  # With 1 the list is ignored and cpan.org asked alone.",
		"  'pushy_https' => 0,",
		"  'connect_to_internet_ok' => 1,",
		"  'prerequisites_policy' => 'follow',",
		"  'build_requires_install_policy' => 'yes',",
		"  'recommends_policy' => 0,",
		"  'suggests_policy' => 0,",
		"  'allow_installing_module_downgrades' => 'no',",
		"  'allow_installing_outdated_dists' => 'yes',",
		"  'cpan_home' => $home,",
		"  'build_dir' => \"$home/build\",",
		"  'build_dir_reuse' => 0,",
		"  'build_cache' => 100,",
		"  'keep_source_where' => \"$home/sources\",",
		"  'prefs_dir' => \"$home/prefs\",",
		"  'histfile' => \"$home/histfile\",",
		"  'histsize' => 100,",
		"  'auto_commit' => 0,",
		"  'cache_metadata' => 1,",
		"  'index_expire' => 1,",
		"  'scan_cache' => 'atstart',",
		"  'inactivity_timeout' => 0,",
		"  'inhibit_startup_message' => 0,",
		"  'check_sigs' => 0,",
		"  'trust_test_report_history' => 0,",
		"  'test_report' => 0,",
		"  'colorize_output' => 0,",
		"  'commandnumber_in_prompt' => 1,",
		"  'halt_on_failure' => 0,",
		"  'load_module_verbosity' => 'none',",
		"  'perl5lib_verbosity' => 'none',",
		"  'show_upload_date' => 0,",
		"  'show_zero_versions' => 0,",
		"  'show_unparsable_versions' => 0,",
		"  'tar_verbosity' => 'none',",
		"  'term_is_latin' => 0,",
		"  'term_ornaments' => 0,",
		"  'use_sqlite' => 0,",
		"  'version_timeout' => 15,",
		"  'yaml_load_code' => 0,",
		"  'yaml_module' => 'YAML',",
		"  'bzip2' => '', 'gpg' => '', 'gzip' => 'gzip', 'tar' => 'tar', 'unzip' => 'unzip',",
		"  # CPAN.pm needs one of the two, or LWP, for https.",
		"  'curl' => $find->('curl'), 'wget' => $find->('wget'), 'lynx' => '', 'ncftp' => '', 'ncftpget' => '', 'ftp' => '',",
		"  'make' => 'make', 'pager' => $ENV{PAGER} || 'more', 'shell' => $ENV{SHELL} || '/bin/sh',",
		"  'applypatch' => '', 'patch' => '',",
		"  'make_arg' => '', 'make_install_arg' => '', 'makepl_arg' => '',",
		"  'make_install_make_command' => 'make',",
		"  'mbuild_arg' => '', 'mbuild_install_arg' => '', 'mbuildpl_arg' => '',",
		"  'mbuild_install_build_command' => './Build',",
		"  'ftp_passive' => 1,",
		"  # Proxies come from the environment.",
		"  'ftp_proxy' => '', 'http_proxy' => '', 'no_proxy' => '', 'getcwd' => 'cwd',",
		"};",
		"1;",
		"__END__",
	)
}

// npmrc is npm's global configuration (npm documentation, "npmrc"). npm has one
// registry and no other to go to.
func npmrc(urls []string, bundle string) string {
	lines := []string{"; npm knows one registry."}
	if len(urls) > 1 {
		lines = append(lines, "; When it is down:", each(urls[1:], func(u string) string { return ";   npm install --registry " + u + "/ PACKAGE" }))
	}
	lines = append(lines, "registry="+urls[0]+"/")
	if bundle != "" {
		lines = append(lines, "; The public roots and the site's certificate authorities.", "cafile="+bundle)
	}
	return text(append(lines, "update-notifier=false", "fund=false")...)
}
