package site

import (
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

// Every kind of bad input, with the exact message and hint.
func TestBadSiteFiles(t *testing.T) {
	good := string(makeCert(t, certSpec{cn: "Lab Root"}))
	expired := string(makeCert(t, certSpec{cn: "Old Root", to: "2024-03-01"}))
	early := string(makeCert(t, certSpec{cn: "Next Root", from: "2027-01-01"}))
	server := string(makeCert(t, certSpec{cn: "www.lab.example", server: true}))
	der, _ := pem.Decode([]byte(good))
	lines := strings.SplitAfter(good, "\n")
	cut := strings.Join(lines[:len(lines)-3], "")
	noise := strings.Join(lines[:2], "") + "%%%%\n" + strings.Join(lines[2:], "")
	garbage := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

	dir := writeTree(t, map[string]string{
		"good.pem": good, "der.cer": string(der.Bytes), "text.pem": "hello\n", "none/readme": "x",
		"expired.pem": good + expired, "early.pem": early, "server.pem": server,
		"cut.pem": cut + good, "noise.pem": good + noise, "garbage.pem": garbage,
		"key.pem":     good + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"trusted.pem": "-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----\n",
		"csr.pem":     "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
	})
	env := map[string]string{"EXPIRED": dir + "/expired.pem", "BROKEN": garbage}

	// DIR stands for the directory of the site file.
	for _, c := range []struct{ name, toml, err, hint string }{
		{"unknown key", "\nmirors = 1\n", `site.toml:2: mirors: is an unknown key`,
			`did you mean mirrors? keys here are extends, ca, ca-mode, mirrors, indexes, keyrings, registry, proxy`},
		{"unknown key, nothing like it", "zzz = 1\n", `site.toml:1: zzz: is an unknown key`,
			`keys here are extends, ca, ca-mode, mirrors, indexes, keyrings, registry, proxy`},
		{"unknown key in a table", "[proxy]\nhttp = 'http://p:1'\nhtps = 'http://p:1'\n", `site.toml:3: proxy.htps: is an unknown key`,
			`did you mean https? keys here are http, https, no`},
		{"unknown key in an inline table", "[mirrors]\ndebian = [\n  'http://a/debian',\n  { url = 'http://b/debian', buildonly = true },\n]\n",
			`site.toml:4: mirrors.debian[1].buildonly: is an unknown key`, `did you mean build-only? keys here are url, build-only, image-only`},
		{"unknown key in a registry", "[[registry]]\nprefix = 'docker.io'\n[[registry]]\nprefix = 'quay.io'\nmirror = 'a:1'\n",
			`site.toml:5: registry[1].mirror: is an unknown key`, `did you mean mirrors? keys here are prefix, location, insecure, mirrors`},
		{"lowest line first", "zzz = 1\n[mirrors]\ndebian = 'x'\nyyy = 'x'\n", `site.toml:1: zzz: is an unknown key`,
			`keys here are extends, ca, ca-mode, mirrors, indexes, keyrings, registry, proxy`},
		{"not TOML", "extends = public\n", `site.toml:1: is not TOML: unexpected character U+0070 'p' at start of value`, `strings stand in quotes, lists in [ ], tables begin with [name]`},
		{"duplicate key", "extends = 'public'\nextends = 'ornl'\n", `site.toml:2: is not TOML: key extends is already defined`, ``},
		{"extends", "extends = 'pubic'\n", `site.toml:1: extends: "pubic" is not a built-in site`,
			`did you mean public? sites to start from are host, nccs, ornl, public, univention, none`},
		{"extends type", "extends = ['public']\n", `site.toml:1: extends: is an array, not a string`, `write it as extends = "public"`},

		{"no such CA", "ca = [\n  'good.pem',\n  'bad.pem',\n]\n", `site.toml:3: ca[1]: DIR/bad.pem: no such file or directory`,
			`a relative path starts at DIR; a directory, a pattern such as Netskope*.pem or a $VARIABLE will do too`},
		{"no match", "ca = 'Netskope*.pem'\n", `site.toml:1: ca: no file matches DIR/Netskope*.pem`, `put the certificates there, or take the entry out`},
		{"empty directory", "ca = 'none'\n", `site.toml:1: ca: directory DIR/none holds no *.pem, *.crt or *.cer file`, ``},
		{"variable", "ca = ['$LAB_CA']\n", `site.toml:1: ca[0]: variable LAB_CA is not set`,
			`in GitLab define it under Settings → CI/CD → Variables with type File`},
		{"variable naming a bad file", "ca = ['${EXPIRED}']\n",
			`site.toml:1: ca[0]: $EXPIRED: DIR/expired.pem: certificate 2 of 2 (CN=Old Root, line LINE2) expired on 2024-03-01`,
			`put the renewed certificate in its place, or take it out`},
		{"variable holding PEM", "ca = ['$BROKEN']\n", `site.toml:1: ca[0]: $BROKEN: certificate 1 of 1 (line 1) does not parse: malformed certificate`,
			`copy the file again; openssl x509 -in FILE -noout -subject has to read it`},
		{"not PEM", "ca = ['text.pem']\n", `site.toml:1: ca[0]: DIR/text.pem: holds no PEM certificate`,
			`a PEM file has lines from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----`},
		{"DER", "ca = ['der.cer']\n", `site.toml:1: ca[0]: DIR/der.cer: is a DER certificate (CN=Lab Root), not PEM`,
			`convert it: openssl x509 -inform der -in DIR/der.cer -out DIR/der.cer.pem`},
		{"cut off", "ca = ['cut.pem']\n", `site.toml:1: ca[0]: DIR/cut.pem: certificate 1 of 2 (line 1) is damaged: its PEM block is cut off or not base64`,
			`copy the file again; openssl x509 -in DIR/cut.pem -noout -subject has to read it`},
		{"not base64", "ca = ['noise.pem']\n", `site.toml:1: ca[0]: DIR/noise.pem: certificate 2 of 2 (line LINE2) is damaged: its PEM block is cut off or not base64`,
			`copy the file again; openssl x509 -in DIR/noise.pem -noout -subject has to read it`},
		{"not a certificate", "ca = ['garbage.pem']\n", `site.toml:1: ca[0]: DIR/garbage.pem: certificate 1 of 1 (line 1) does not parse: malformed certificate`,
			`copy the file again; openssl x509 -in DIR/garbage.pem -noout -subject has to read it`},
		{"inline", "ca = ['''\n" + garbage + "''']\n", `site.toml:1: ca[0]: certificate 1 of 1 (line 1) does not parse: malformed certificate`,
			`copy the file again; openssl x509 -in FILE -noout -subject has to read it`},
		{"private key", "ca = ['key.pem']\n", `site.toml:1: ca[0]: DIR/key.pem: holds a private key (line LINE2)`,
			`name a file with the authority's certificate only, and keep the key to yourself`},
		{"trusted form", "ca = ['trusted.pem']\n", `site.toml:1: ca[0]: DIR/trusted.pem: certificate 1 of 1 (line 1) is in OpenSSL's TRUSTED form`,
			`convert it: openssl x509 -in DIR/trusted.pem -out DIR/trusted.pem.pem`},
		{"request", "ca = ['csr.pem']\n", `site.toml:1: ca[0]: DIR/csr.pem: holds a PEM block of type "CERTIFICATE REQUEST" (line 1), not a certificate`, ``},
		{"expired", "ca = ['good.pem', 'expired.pem']\n",
			`site.toml:1: ca[1]: DIR/expired.pem: certificate 2 of 2 (CN=Old Root, line LINE2) expired on 2024-03-01`,
			`put the renewed certificate in its place, or take it out`},
		{"not yet valid", "ca = ['early.pem']\n", `site.toml:1: ca[0]: DIR/early.pem: certificate 1 of 1 (CN=Next Root, line 1) is not valid before 2027-01-01`,
			`check this machine's clock: it says 2026-06-01`},
		{"not an authority", "ca = [{ file = 'server.pem', build-only = true }]\n",
			`site.toml:1: ca[0]: DIR/server.pem: certificate 1 of 1 (CN=www.lab.example, line 1) is not a certificate authority (basicConstraints CA:FALSE)`,
			`give the authority that signed it: CN=Lab Root`},
		{"CA type", "ca = 7\n", `site.toml:1: ca: is a number, not a string`, `write it as "ca.pem"`},
		{"CA table", "ca = [{ build-only = true }]\n", `site.toml:1: ca[0]: has no file`, `write { file = "ca.pem", mode = "build-only" }`},

		{"credentials", "[mirrors]\ndebian = 'https://bob:hunter2@mirror.example/debian'\n",
			`site.toml:2: mirrors.debian: "https://bob:xxxxx@mirror.example/debian" holds credentials`,
			`a site is shown, logged and written into images: use a mirror that needs no password, such as a cache inside the site`},
		{"credentials in no URL", "[mirrors]\ndebian = 'https://bob:hun ter2@mirror.example/debian'\n",
			`site.toml:2: mirrors.debian: a URL cannot hold white space`, `write it as https://HOST/PATH or http://HOST/PATH`},
		{"bad escape", "[mirrors]\ndebian = 'https://bob:hunter%zz@mirror.example/debian'\n",
			`site.toml:2: mirrors.debian: is not a URL`, `write it as https://HOST/PATH or http://HOST/PATH`},
		{"not a URL", "[mirrors]\ndebian = 'mirror.example/debian'\n",
			`site.toml:2: mirrors.debian: "mirror.example/debian" is not an absolute URL`, `write it as https://HOST/PATH or http://HOST/PATH`},
		{"scheme", "[mirrors]\ndebian = 'ftp://mirror.example/debian'\n",
			`site.toml:2: mirrors.debian: "ftp://mirror.example/debian" has scheme ftp, not http or https`, `write it as https://HOST/PATH or http://HOST/PATH`},
		{"no host", "[mirrors]\ndebian = 'http:///debian'\n",
			`site.toml:2: mirrors.debian: "http:///debian" names no host`, `write it as https://HOST/PATH or http://HOST/PATH`},
		{"port", "[mirrors]\ndebian = 'http://mirror.example:http/debian'\n",
			`site.toml:2: mirrors.debian: "http://mirror.example:http/debian" is not a URL: invalid port ":http" after host`, `write it as https://HOST/PATH or http://HOST/PATH`},
		{"query", "[mirrors]\ndebian = 'http://mirror.example/debian?token=hunter2'\n",
			`site.toml:2: mirrors.debian: "http://mirror.example/debian" has a query or fragment`, `a mirror is a directory, such as http://ftp.debian.org/debian`},
		{"too deep", "[mirrors]\ndebian = 'http://mirror.example/debian/dists/bookworm'\n",
			`site.toml:2: mirrors.debian: "http://mirror.example/debian/dists/bookworm" is inside a repository`,
			`name the directory that holds dists/ and pool/: http://mirror.example/debian`},
		{"twice", "[mirrors]\ndebian = [\n 'http://mirror.example/debian',\n 'http://mirror.example/debian/']\n",
			`site.toml:4: mirrors.debian[1]: "http://mirror.example/debian" is there twice, first in line 3`, `take one out`},
		{"empty list", "[mirrors]\ndebian = []\n", `site.toml:2: mirrors.debian: lists no mirror`, `name at least one, or take the key out`},
		{"mirror type", "[mirrors]\ndebian = ['http://a/debian', true]\n", `site.toml:2: mirrors.debian[1]: is a boolean, not a string`, `write it as "https://mirror.example.org/debian"`},
		{"mirror table", "[mirrors]\ndebian = [{ build-only = true }]\n", `site.toml:2: mirrors.debian[0]: has no url`, `write { url = "https://…", build-only = true }`},
		{"boolean", "[mirrors]\ndebian = [{ url = 'http://a/debian', build-only = 'yes' }]\n", `site.toml:2: mirrors.debian[0].build-only: is a string, not a boolean`, `write it as build-only = true`},
		{"mirrors type", "mirrors = 'http://a/debian'\n", `site.toml:1: mirrors: is a string, not a table`, `write it as [mirrors] with debian = ["https://…"] below`},
		{"repository", "[mirrors]\ndebian-securty = 'http://a/debian-security'\n", `site.toml:2: mirrors.debian-securty: is not a known repository`,
			`did you mean debian-security? names that close to a known one are refused`},
		{"repository name", "[mirrors]\n'My Repo' = 'http://a/x'\n", `site.toml:2: mirrors.My Repo: is not a repository name`, `use lower-case letters, digits, '.', '+' and '-'`},

		{"release in a repository's name", "[mirrors]\nrocky9 = 'http://a/rocky'\n", `site.toml:2: mirrors.rocky9: is not a known repository`,
			`did you mean rocky? names that close to a known one are refused`},
		{"inside an rpm repository", "[mirrors]\nrocky = 'http://a/rocky/9/BaseOS/x86_64/os/repodata'\n", `site.toml:2: mirrors.rocky: "http://a/rocky/9/BaseOS/x86_64/os/repodata" is inside a repository`,
			`name the base, such as https://dl.rockylinux.org/pub/rocky: release and architecture are added by the recipe`},
		{"variable in a URL", "[mirrors]\nrocky = 'http://a/rocky/$releasever'\n", `site.toml:2: mirrors.rocky: "http://a/rocky/$releasever" holds a variable`,
			`name the base, such as https://dl.rockylinux.org/pub/rocky: release and architecture are added by the recipe`},
		{"both only", "[mirrors]\ndebian = { url = 'http://a/debian', build-only = true, image-only = true }\n", `site.toml:2: mirrors.debian: is both build-only and image-only`,
			`take both out: a mirror is used for both without them`},
		{"index kind", "[indexes]\npypy = 'http://a/simple'\n", `site.toml:2: indexes.pypy: is not a kind of index`, `did you mean pypi? kinds are conda, cpan, cran, npm, pypi`},
		{"index credentials", "[indexes]\npypi = 'https://bob:hunter2@a.example/simple'\n", `site.toml:2: indexes.pypi: "https://bob:xxxxx@a.example/simple" holds credentials`,
			`a site is shown, logged and written into images: use an index that needs no password, such as a cache inside the site`},
		{"index token", "[indexes]\npypi = 'https://a.example/simple?token=hunter2'\n", `site.toml:2: indexes.pypi: "https://a.example/simple" has a query or fragment`,
			`an index is a directory, such as https://pypi.org/simple`},
		{"inside an index", "[indexes]\ncran = 'https://a.example/cran/src/contrib'\n", `site.toml:2: indexes.cran: "https://a.example/cran/src/contrib" is inside an index`,
			`name the directory above it: https://a.example/cran`},
		{"index scheme", "[indexes]\nnpm = ['ftp://a.example/npm']\n", `site.toml:2: indexes.npm[0]: "ftp://a.example/npm" has scheme ftp, not http or https`, `write it as https://HOST/PATH or http://HOST/PATH`},
		{"index type", "[indexes]\nnpm = 7\n", `site.toml:2: indexes.npm: is a number, not a string`, `write it as "https://registry.npmjs.org"`},
		{"indexes type", "indexes = 'x'\n", `site.toml:1: indexes: is a string, not a table`, `write it as [indexes] with pypi = ["https://…/simple"] below`},

		{"keyring missing", "[keyrings]\ndebian = 'lab.asc'\n", `site.toml:2: keyrings.debian: DIR/lab.asc: no such file or directory`, `paths are relative to the site file`},
		{"keyring", "[keyrings]\ndebian = { file = 'text.pem', replace = true }\n", `site.toml:2: keyrings.debian: DIR/text.pem: holds no public keys`,
			`export them: gpg --export --armor KEYID > archive-key.asc`},
		{"keyring table", "[keyrings]\ndebian = { replace = true }\n", `site.toml:2: keyrings.debian: has no file`, `write { file = "archive.asc", replace = true }`},

		{"registry twice", "[[registry]]\nprefix = 'docker.io'\n[[registry]]\nprefix = 'docker.io'\n",
			`site.toml:3: registry[1]: prefix "docker.io" is there twice, first in line 1`, `join the two`},
		{"registry without prefix", "[[registry]]\nmirrors = 'a.example:1'\n", `site.toml:1: registry[0]: has no prefix`, `write which references it is for: prefix = "docker.io"`},
		{"registry as a table", "[registry]\nprefix = 'docker.io'\n", `site.toml:1: registry: is a table, not a list`, `write it as [[registry]], with two brackets`},
		{"registry URL", "[[registry]]\nprefix = 'docker.io'\nmirrors = ['http://cache.example:5000']\n",
			`site.toml:3: registry[0].mirrors[0]: "http://cache.example:5000" is a URL, not host[:port][/path]`,
			`write it without the scheme: cache.example:5000, and insecure = true beside it`},
		{"registry credentials", "[[registry]]\nprefix = 'docker.io'\nlocation = 'bob:pw@cache.example'\n",
			`site.toml:3: registry[0].location: holds credentials or a digest`, `log in with docker login or podman login instead; write host[:port][/path]`},
		{"registry mirror twice", "[[registry]]\nprefix = 'docker.io'\nmirrors = ['a.example', { location = 'a.example' }]\n",
			`site.toml:3: registry[0].mirrors[1]: "a.example" is there twice`, `take one out`},

		{"proxy credentials", "[proxy]\nhttps = 'http://bob:pw@proxy:3128'\n", `site.toml:2: proxy.https: holds credentials`, `put the URL in a variable and write https = "$NAME"`},
		{"proxy variable", "[proxy]\nhttps = '$LAB_PROXY'\n", `site.toml:2: proxy.https: variable LAB_PROXY is not set`, `set it, or take the line out`},
		{"proxy scheme", "[proxy]\nhttp = 'socks5://proxy:1080'\n", `site.toml:2: proxy.http: "socks5://proxy:1080" has scheme socks5, not http or https`, `write it as https://HOST/PATH or http://HOST/PATH`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := writeFile(dir+"/site.toml", c.toml); err != nil {
				t.Fatal(err)
			}
			_, err := Load("./site.toml", LoadOptions{Dir: dir, Now: testNow, Getenv: func(n string) string { return env[n] }})
			var e *InvalidError
			if !errors.As(err, &e) || !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v is not an InvalidError", err)
			}
			r := strings.NewReplacer("DIR", dir, "LINE2", itoa(len(lines)))
			if got, want := err.Error(), r.Replace("./"+c.err); got != want {
				t.Errorf("error\n got  %s\n want %s", got, want)
			}
			if got, want := e.Hint(), r.Replace(c.hint); got != want && c.hint != "" {
				t.Errorf("hint\n got  %s\n want %s", got, want)
			}
			if strings.Contains(err.Error()+e.Hint(), "hunter") {
				t.Errorf("the password is shown: %v / %s", err, e.Hint())
			}
		})
	}
}

func TestUnknownSite(t *testing.T) {
	for _, c := range []struct{ name, err, hint string }{
		{"orln", `site "orln": is unknown`, `did you mean ornl? built-in sites are host, nccs, ornl, public, univention; a site file is named by its path`},
		{"nowhere-at-all", `site "nowhere-at-all": is unknown`, `built-in sites are host, nccs, ornl, public, univention; a site file is named by its path`},
		{"./lab.toml", `site "./lab.toml": DIR/lab.toml: no such file or directory`, `built-in sites are host, nccs, ornl, public, univention; examples/site.toml shows what a file looks like`},
	} {
		dir := t.TempDir()
		_, err := Load(c.name, LoadOptions{Dir: dir})
		var e *InvalidError
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", c.name, err)
		}
		if want := strings.ReplaceAll(c.err, "DIR", dir); err.Error() != want || e.Hint() != c.hint {
			t.Errorf("%s:\n got  %s\n want %s\n hint %s\n want %s", c.name, err, want, e.Hint(), c.hint)
		}
	}
}
