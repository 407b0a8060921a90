package ca

import "strings"

// Client is a program that checks certificates.
type Client struct {
	// Name in the matrix.
	Name string
	// There is a command for sh that succeeds where the image has the client.
	There string
	// Try is a script for sh -e that succeeds when the client got what it asked for.
	// $U is the URL to ask below, $A the directory of the assets, $W an empty
	// directory to work in, $HOST and $PORT are those of $U.
	Try string
}

// has: the commands are on PATH.
func has(names ...string) string {
	for i, n := range names {
		names[i] = "command -v " + n
	}
	return strings.Join(names, " && ")
}

const urllib = `import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())`

// rpmRepo writes a repository file that dnf, yum, microdnf and zypper read.
const rpmRepo = `mkdir "$W/repos"
printf '[proof]\nname=proof\nbaseurl=%s/rpm\nenabled=1\ngpgcheck=0\nrepo_gpgcheck=0\nskip_if_unavailable=0\nautorefresh=1\ntype=rpm-md\n' "$U" > "$W/repos/proof.repo"
`

// dnf and its like fetch the indexes of that repository alone.
func dnf(name string) string {
	return rpmRepo + name + ` -y --setopt=reposdir="$W/repos" --setopt=cachedir="$W/cache" --setopt=retries=1 makecache`
}

// apt in directories of its own; APT::Sandbox::User is root so that it can read them.
const apt = `mkdir -p "$W/lists/partial" "$W/cache/archives/partial"
: > "$W/status"
printf 'deb [signed-by=%s/apt.asc] %s/apt proof main\n' "$A" "$U" > "$W/sources.list"
cd "$W"
o="-o Dir::Etc::sourcelist=$W/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$W/lists -o Dir::State::status=$W/status -o Dir::Cache=$W/cache -o APT::Sandbox::User=root -o Acquire::Retries=0 -o Acquire::Languages=none"
apt-get $o update
apt-get $o download cfbuild-proof
test -s cfbuild-proof_1.0_all.deb
`

// pip takes one wheel from a page of links: whatever indexes are configured stay out
// of it.
func pip(command string) string {
	return command + ` download --no-index --find-links "$U/simple/cfbuild-proof/" --no-deps --no-cache-dir --disable-pip-version-check --retries 0 -d "$W" cfbuild-proof
test -s "$W"/cfbuild_proof-1.0-py3-none-any.whl`
}

const node = `require('https').get(process.argv[1], r => { r.pipe(process.stdout); r.on('end', () => process.exit(r.statusCode == 200 ? 0 : 1)) }).on('error', e => { console.error(e.message); process.exit(1) })`

const lwp = `my $r = LWP::UserAgent->new(timeout => 60)->get($ARGV[0]); print $r->is_success ? $r->content : $r->status_line, "\n"; exit !$r->is_success`

// The module verifies where it is asked to; up to Perl 5.36 its default is not to.
const tiny = `my $r = HTTP::Tiny->new(timeout => 60, verify_SSL => 1)->get($ARGV[0]); print $r->{content}, "\n"; exit !$r->{success}`

const rProbe = `options(warn = 2, timeout = 60); u <- commandArgs(TRUE)
download.file(paste0(u[1], "/file"), file.path(u[2], "file"), quiet = TRUE)
p <- available.packages(contriburl = paste0(u[1], "/cran/src/contrib"), filters = list())
stopifnot("cfbuildproof" %in% rownames(p))
download.packages("cfbuildproof", u[2], available = p, contriburl = paste0(u[1], "/cran/src/contrib"), type = "source", quiet = TRUE)
`

// Clients lists every client that is looked for, in the order of the matrix.
func Clients() []Client {
	return []Client{
		{"curl", has("curl"), `curl --fail --silent --show-error "$U/file"`},
		{"wget", has("wget"), `wget -O "$W/file" "$U/file"; cat "$W/file"`},
		{"git", has("git"), `git clone "$U/git" "$W/clone"; cat "$W/clone/file"`},
		{"openssl", has("openssl"), `printf 'GET /%s/file HTTP/1.0\r\nHost: %s\r\n\r\n' "${U##*/}" "$HOST" | openssl s_client -quiet -verify_return_error -verify_hostname "$HOST" -servername "$HOST" -connect "$HOST:$PORT"`},
		{"python", has("python3"), `python3 -c "` + urllib + `" "$U/file"`},
		{"python requests", "python3 -c 'import requests'", `python3 -c 'import sys, requests; r = requests.get(sys.argv[1], timeout=60); r.raise_for_status(); sys.stdout.write(r.text)' "$U/file"`},
		{"pip", "python3 -m pip --version", pip("python3 -m pip")},
		{"pip in a venv", "python3 -c 'import venv, ensurepip'", `python3 -m venv "$W/venv"; ` + pip(`"$W/venv/bin/pip"`)},
		{"node", has("node"), "cat > \"$W/get.js\" <<'EOF'\n" + node + "\nEOF\nnode -e \"$(cat \"$W/get.js\")\" \"$U/file\""},
		{"npm", has("npm"), `cd "$W"; npm pack cfbuild-proof --registry "$U/npm/" --cache "$W/cache" --fetch-retries 0 --no-update-notifier; test -s cfbuild-proof-1.0.0.tgz`},
		{"java", has("java"), `java -cp "$A" ` + javaClass + ` "$U/file"`},
		{"R", has("Rscript"), "cat > \"$W/get.R\" <<'EOF'\n" + rProbe + "EOF\nRscript \"$W/get.R\" \"$U\" \"$W\""},
		{"perl LWP", "perl -MLWP::UserAgent -MLWP::Protocol::https -e1", `perl -MLWP::UserAgent -e '` + lwp + `' "$U/file"`},
		{"perl HTTP::Tiny", "perl -MHTTP::Tiny -MIO::Socket::SSL -MNet::SSLeay -e1", `perl -MHTTP::Tiny -e '` + tiny + `' "$U/file"`},
		{"ruby", "ruby -ropen-uri -ropenssl -e ''", `ruby -ropen-uri -e 'print URI.parse(ARGV[0]).open.read' "$U/file"`},
		{"go", has("go"), `cd "$W"; GOTOOLCHAIN=local GONOSUMDB="*" GOPROXY="$U/go" GOFLAGS=-modcacherw GOPATH="$W/go" GOCACHE="$W/cache" go mod download origin.test/proof@v1.0.0`},
		{"conda", has("conda"), `conda search --override-channels -c "$U/conda" cfbuild-proof`},
		{"mamba", has("mamba"), `mamba search --override-channels -c "$U/conda" cfbuild-proof`},
		{"micromamba", has("micromamba"), `micromamba search --override-channels -c "$U/conda" cfbuild-proof`},
		{"apt", has("apt-get"), apt},
		{"dnf", has("dnf"), dnf("dnf")},
		{"yum", has("yum"), dnf("yum")},
		{"microdnf", has("microdnf"), dnf("microdnf")},
		{"zypper", has("zypper"), rpmRepo + `zypper --non-interactive --no-gpg-checks --reposd-dir "$W/repos" --cache-dir "$W/cache" refresh --force proof`},
		{"apk", has("apk"), `echo "$U/apk" > "$W/repositories"; apk --allow-untrusted --repositories-file "$W/repositories" update`},
	}
}
