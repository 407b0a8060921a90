package lint

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// credentialFiles are files that hold logins, by the end of their path, with what
// tells that there is one in it.
var credentialFiles = []struct {
	end  string
	mark *regexp.Regexp
}{
	{"/.netrc", regexp.MustCompile(`(?m)\bpassword\s+\S+`)},
	{"/_netrc", regexp.MustCompile(`(?m)\bpassword\s+\S+`)},
	{"/.npmrc", regexp.MustCompile(`(?m)(?:_authToken|_password|_auth)\s*=\s*[^\s$]`)},
	{"/npmrc", regexp.MustCompile(`(?m)(?:_authToken|_password|_auth)\s*=\s*[^\s$]`)},
	{"/.yarnrc.yml", regexp.MustCompile(`npmAuthToken:\s*["']?[^\s"'$]`)},
	{"/.pypirc", regexp.MustCompile(`(?m)^\s*password\s*[=:]\s*\S+`)},
	{"/.docker/config.json", regexp.MustCompile(`"(?:auth|identitytoken|password|registrytoken)"\s*:\s*"[^"]+"`)},
	{"/.dockercfg", regexp.MustCompile(`"auth"\s*:\s*"[^"]+"`)},
	{"/containers/auth.json", regexp.MustCompile(`"auth"\s*:\s*"[^"]+"`)},
	{"/.git-credentials", regexp.MustCompile(`://[^\s:]+:[^\s@]+@`)},
	{"/git/credentials", regexp.MustCompile(`://[^\s:]+:[^\s@]+@`)},
	{"/.aws/credentials", regexp.MustCompile(`(?i)aws_secret_access_key\s*=\s*\S+`)},
	{"/.azure/accessTokens.json", regexp.MustCompile(`.`)},
	{"/.azure/msal_token_cache.json", regexp.MustCompile(`.`)},
	{"/gcloud/application_default_credentials.json", regexp.MustCompile(`"(?:refresh_token|private_key)"`)},
	{"/gcloud/credentials.db", regexp.MustCompile(`.`)},
	{"/.kube/config", regexp.MustCompile(`(?m)\b(?:token|client-key-data|password):\s*\S+`)},
	{"/.vault-token", regexp.MustCompile(`\S{8,}`)},
	{"/credentials.tfrc.json", regexp.MustCompile(`"token"`)},
	{"/.my.cnf", regexp.MustCompile(`(?m)^\s*password\s*=\s*\S+`)},
	{"/.pgpass", regexp.MustCompile(`(?m)^[^#\s][^:]*:[^:]*:[^:]*:[^:]*:\S+`)},
	{"/.cargo/credentials.toml", regexp.MustCompile(`token\s*=`)},
	{"/.cargo/credentials", regexp.MustCompile(`token\s*=`)},
	{"/.gem/credentials", regexp.MustCompile(`:\s*\S{16,}`)},
	{"/.m2/settings.xml", regexp.MustCompile(`<password>[^<${]+</password>`)},
	{"/.config/gh/hosts.yml", regexp.MustCompile(`oauth_token:\s*\S+`)},
	{"/.config/glab-cli/config.yml", regexp.MustCompile(`token:\s*\S{8,}`)},
	{"/apt/auth.conf", regexp.MustCompile(`(?m)^[^#]*\bpassword\s+\S+`)},
	{"/.env", regexp.MustCompile(`(?mi)^\s*(?:export\s+)?[A-Z0-9_]*(?:PASSWORD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY)[A-Z0-9_]*\s*=\s*["']?[^\s"'$]{6,}`)},
	{"/.condarc", regexp.MustCompile(`://\S+/t/[^/\s<$]{8,}/`)},
}

// credentialMark gives what tells a login in a file of that path; nil: none is
// expected there.
func credentialMark(p string) *regexp.Regexp {
	for _, c := range credentialFiles {
		if strings.HasSuffix(p, c.end) || c.end == "/apt/auth.conf" && strings.Contains(p, "/apt/auth.conf.d/") {
			return c.mark
		}
	}
	return nil
}

// sampleDirs hold examples: keys and tokens of manuals and test suites.
var sampleDirs = []string{"doc", "man", "info", "locale", "i18n", "examples", "test", "tests", "testdata", "testing", "test-data"}

// sample says whether a path is below such a directory of the system or of a
// language's packages.
func sample(p string) bool {
	if !below(p, "/usr") && !below(p, "/opt") && !below(p, "/lib") {
		return false
	}
	for part := range strings.SplitSeq(path.Dir(p), "/") {
		if slices.Contains(sampleDirs, part) {
			return true
		}
	}
	return false
}

// hostKey says whether a file is the host key of an SSH server.
func hostKey(p string) bool {
	dir, base := path.Split(p)
	return (dir == "/etc/ssh/" || dir == "/etc/dropbear/") && (strings.HasPrefix(base, "ssh_host_") && strings.HasSuffix(base, "_key") || strings.HasPrefix(base, "dropbear_") && strings.HasSuffix(base, "_host_key"))
}

// contentFindings are the rules on what is in one file, wherever it comes from. The
// content may be the first part of a large file.
func contentFindings(p string, data []byte) []Finding {
	var out []Finding
	add := func(rule, format string, args ...any) {
		out = append(out, Finding{Rule: rule, Path: p, Message: fmt.Sprintf(format, args...)})
	}
	_, base := path.Split(p)
	text := !bytes.ContainsRune(data[:min(len(data), 8000)], 0)
	switch {
	case hostKey(p):
		add(HostKey, "%s is the host key of an SSH server", p)
		return out
	case base == "authorized_keys" || base == "authorized_keys2":
		if bytes.Contains(data, []byte("ssh-")) || bytes.Contains(data, []byte("ecdsa-")) {
			add(AuthorizedKeys, "%s lets the holders of keys in", p)
		}
	case strings.HasSuffix(base, ".p12") || strings.HasSuffix(base, ".pfx"):
		if !sample(p) {
			add(PrivateKey, "%s is a store of private keys (PKCS #12)", p)
		}
		return out
	case strings.HasPrefix(base, ".git-credentials") || credentialMark(p) != nil:
		if mark := credentialMark(p); mark != nil && mark.Match(data) {
			add(CredentialFile, "%s holds a login", p)
			return out
		}
	}
	if m := shadowFile(p); m != nil {
		return append(out, m(p, data)...)
	}
	if !text || sample(p) {
		return out
	}
	if bytes.Contains(data, []byte("PRIVATE KEY")) && keyRE.Match(data) {
		how := "a private key"
		if bytes.Contains(data, []byte("ENCRYPTED")) {
			how = "a private key, encrypted"
		}
		add(PrivateKey, "%s is or holds %s", p, how)
	} else if bytes.HasPrefix(data, []byte("PuTTY-User-Key-File")) {
		add(PrivateKey, "%s is a private key (PuTTY)", p)
	} else if kind := secretInBytes(data, ownConfig(p)); kind != "" {
		add(TokenInFile, "%s holds %s", p, kind)
	}
	out = append(out, settings(p, data)...)
	return out
}

// ownConfig says whether a file is written by people and not by a distribution's
// programs: there a URL with a password is no example.
func ownConfig(p string) bool {
	return !below(p, "/usr") || below(p, "/usr/local")
}

// settings are the rules on configuration of package managers and shells.
func settings(p string, data []byte) []Finding {
	var out []Finding
	add := func(rule, format string, args ...any) {
		out = append(out, Finding{Rule: rule, Path: p, Message: fmt.Sprintf(format, args...)})
	}
	s := string(data)
	ext := path.Ext(p)
	switch {
	case below(p, "/etc/apt") && (ext == ".list" || ext == ".sources") && trustedRE.MatchString(s):
		add(SignaturesOff, "%s trusts a repository without its signature (trusted=yes)", p)
	case below(p, "/etc/apt") && unauthRE.MatchString(s):
		add(SignaturesOff, "%s lets apt install without signatures", p)
	case ext == ".repo" && (below(p, "/etc/yum.repos.d") || below(p, "/etc/zypp/repos.d")), p == "/etc/dnf/dnf.conf", p == "/etc/yum.conf":
		for _, section := range repoSections(s) {
			if gpgOffRE.MatchString(section) && !disabledRE.MatchString(section) {
				add(SignaturesOff, "%s has gpgcheck=0", p)
				break
			}
		}
	case (p == "/etc/pip.conf" || path.Base(p) == "pip.conf") && trustedHostRE.MatchString(s):
		add(SignaturesOff, "%s trusts an index without its certificate (trusted-host)", p)
	}
	if p == "/etc/environment" && assignedRE.MatchString(pathLineRE.ReplaceAllString(s, "")) {
		add(EnvInFile, "%s sets variables", p)
	}
	return out
}

var (
	trustedRE     = regexp.MustCompile(`(?mi)^\s*(?:deb(?:-src)?\s+\[[^\]]*trusted\s*=\s*(?:yes|true|1)|trusted:\s*(?:yes|true|1))`)
	unauthRE      = regexp.MustCompile(`(?mi)^\s*(?:APT::Get::AllowUnauthenticated|Acquire::AllowInsecureRepositories)\s+"?(?:true|1|yes)`)
	gpgOffRE      = regexp.MustCompile(`(?mi)^\s*gpgcheck\s*=\s*(?:0|no|false)\s*$`)
	disabledRE    = regexp.MustCompile(`(?mi)^\s*enabled\s*=\s*(?:0|no|false)\s*$`)
	trustedHostRE = regexp.MustCompile(`(?m)^\s*trusted-host\s*=`)
	exportRE      = regexp.MustCompile(`(?m)^\s*(?:export|setenv)\s+[A-Za-z_]`)
	assignedRE    = regexp.MustCompile(`(?m)^\s*(?:export\s+)?[A-Za-z_]\w*=`)
	pathLineRE    = regexp.MustCompile(`(?m)^\s*(?:PATH|LANG|LC_ALL)=.*$`)
)

// repoSections cuts a .repo file at its [sections].
func repoSections(s string) []string {
	var out []string
	for line := range strings.Lines(s) {
		if strings.HasPrefix(strings.TrimSpace(line), "[") || len(out) == 0 {
			out = append(out, "")
		}
		out[len(out)-1] += line
	}
	return out
}

// shadowFile gives the check of a password file.
func shadowFile(p string) func(string, []byte) []Finding {
	switch p {
	case "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/passwd", "/etc/passwd-":
		return passwords
	}
	return nil
}

// passwords looks at the second field of each line (shadow(5), passwd(5)).
func passwords(p string, data []byte) []Finding {
	var hashed, open []string
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(line, "\n"), ":")
		if len(f) < 3 || strings.HasPrefix(line, "#") {
			continue
		}
		hash := strings.TrimLeft(f[1], "!")
		switch {
		case f[1] == "" && !strings.Contains(p, "gshadow"):
			open = append(open, f[0])
		case strings.HasPrefix(hash, "$") || len(hash) == 13 && !strings.ContainsAny(hash, "*!x"):
			hashed = append(hashed, f[0])
		}
	}
	var out []Finding
	if len(hashed) > 0 {
		out = append(out, Finding{Rule: PasswordHash, Path: p, Message: fmt.Sprintf("%s has the password hash of %s", p, strings.Join(hashed, ", "))})
	}
	if len(open) > 0 {
		out = append(out, Finding{Rule: NoPassword, Path: p, Message: fmt.Sprintf("%s lets %s in without a password", p, strings.Join(open, ", "))})
	}
	return out
}
