package lint

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// token is a kind of credential that can be told by its form.
type token struct {
	kind string
	// anchor is a part that every one has, to look for first.
	anchor string
	re     *regexp.Regexp
}

// tokens are the forms that services publish for their credentials.
var tokens = []token{
	{"a GitLab token", "glpat-", regexp.MustCompile(`\bglpat-[0-9A-Za-z_-]{20,}`)},
	{"a GitLab token", "glrt-", regexp.MustCompile(`\bglrt-[0-9A-Za-z_-]{20,}`)},
	{"a GitLab token", "gldt-", regexp.MustCompile(`\bgldt-[0-9A-Za-z_-]{20,}`)},
	{"a GitLab token", "glptt-", regexp.MustCompile(`\bglptt-[0-9A-Za-z_-]{20,}`)},
	{"a GitLab token", "glcbt-", regexp.MustCompile(`\bglcbt-[0-9A-Za-z_-]{20,}`)},
	{"a GitLab token", "glagent-", regexp.MustCompile(`\bglagent-[0-9A-Za-z_-]{20,}`)},
	{"a GitLab token", "glft-", regexp.MustCompile(`\bglft-[0-9A-Za-z_-]{20,}`)},
	{"a GitLab token", "glsoat-", regexp.MustCompile(`\bglsoat-[0-9A-Za-z_-]{20,}`)},
	{"a GitHub token", "ghp_", regexp.MustCompile(`\bghp_[0-9A-Za-z]{36,}`)},
	{"a GitHub token", "gho_", regexp.MustCompile(`\bgho_[0-9A-Za-z]{36,}`)},
	{"a GitHub token", "ghu_", regexp.MustCompile(`\bghu_[0-9A-Za-z]{36,}`)},
	{"a GitHub token", "ghs_", regexp.MustCompile(`\bghs_[0-9A-Za-z]{36,}`)},
	{"a GitHub token", "ghr_", regexp.MustCompile(`\bghr_[0-9A-Za-z]{36,}`)},
	{"a GitHub token", "github_pat_", regexp.MustCompile(`\bgithub_pat_[0-9A-Za-z_]{50,}`)},
	{"an AWS access key", "AKIA", regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`)},
	{"an AWS access key", "ASIA", regexp.MustCompile(`\bASIA[0-9A-Z]{16}\b`)},
	{"a Google API key", "AIza", regexp.MustCompile(`\bAIza[0-9A-Za-z_-]{35}\b`)},
	{"a Slack token", "xox", regexp.MustCompile(`\bxox[abeoprs]-[0-9A-Za-z-]{20,}`)},
	{"an npm token", "npm_", regexp.MustCompile(`\bnpm_[0-9A-Za-z]{36}\b`)},
	{"a PyPI token", "pypi-A", regexp.MustCompile(`\bpypi-A[0-9A-Za-z_-]{60,}`)},
	{"a Docker Hub token", "dckr_", regexp.MustCompile(`\bdckr_[po]at_[0-9A-Za-z_-]{27,}`)},
	{"a Stripe key", "_live_", regexp.MustCompile(`\b[rs]k_live_[0-9A-Za-z]{24,}`)},
	{"a Hugging Face token", "hf_", regexp.MustCompile(`\bhf_[A-Za-z]{34}\b`)},
	{"an Azure storage key", "AccountKey=", regexp.MustCompile(`AccountKey=[0-9A-Za-z+/]{86}==`)},
	{"a HashiCorp Vault token", "hvs.", regexp.MustCompile(`\bhvs\.[0-9A-Za-z_-]{24,}`)},
}

var (
	// keyRE finds PEM private keys; the base64 after the line tells a key from a
	// program that only knows the words.
	keyRE = regexp.MustCompile(`-{5}BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY(?: BLOCK)?-{5}\s*(?:[A-Za-z-]+: [^\n]*\s+)*[0-9A-Za-z+/=\s]{40,}`)
	// urlRE finds user and password in a URL.
	urlRE = regexp.MustCompile(`([a-z][a-z0-9+.-]*://)([^\s/:@"'<>$]+):([^\s/@"'<>]+)@`)
	// assignRE finds NAME=VALUE and NAME: VALUE where the name says that the value is
	// secret.
	assignRE = regexp.MustCompile(`(?i)([a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key|credential)[a-z0-9_]*)["']?(=|\s+=\s*|\s*:\s*|\s+)("[^"]*"|'[^']*'|[^\s"'&|;]+)`)
	// optionRE finds the passwords of command lines.
	optionRE = regexp.MustCompile(`(?i)(--(?:password|passwd|token|secret|api-key)[ =]|\s-u\s*[^\s:]+:|Authorization:\s*(?:Bearer|Basic|token)\s+|PRIVATE-TOKEN:\s*|JOB-TOKEN:\s*)("[^"]*"|'[^']*'|[^\s"']+)`)
	secretRE = regexp.MustCompile(`(?i)(password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key|credential)`)
)

// stand-ins for a value that is given elsewhere.
var standIn = regexp.MustCompile(`^(?:["']?(?:\$.*|\{\{?.*|<.*|%[sv].*|\*+|x{3,}|\.{3}|/.*|)["']?)$`)

// harmless says whether the value of a secret's name is none: empty, a reference to
// another place, a path, a switch or a small number.
func harmless(value string) bool {
	v := strings.Trim(value, `"'`)
	switch strings.ToLower(v) {
	case "true", "false", "yes", "no", "none", "null", "off", "on", "auto", "prompt", "ask", "required", "optional", "disabled", "enabled":
		return true
	}
	return len(v) < 3 || standIn.MatchString(value) || strings.Trim(v, "0123456789.") == "" || versionRE.MatchString(v)
}

// versionRE is the version of a package called after secrets: secretstorage=3.3-1.
var versionRE = regexp.MustCompile(`^(?:\d+:)?\d+(?:\.\d+)+[-+~.0-9A-Za-z]*$`)

// wellKnown are values that nobody takes for a secret; they are told as warnings.
func wellKnown(value string) bool {
	return slices.Contains([]string{"temp", "changeme", "change-me", "change_me", "example", "password", "secret", "test", "dummy", "placeholder"},
		strings.ToLower(strings.Trim(value, `"'`)))
}

// innocent are names that hold the word and not the thing.
func innocent(name string) bool {
	n := strings.ToLower(name)
	for _, end := range []string{"_file", "_path", "_url", "_uri", "_dir", "_name", "_id", "_length", "_ttl", "_type", "_expiry", "_host", "_endpoint", "_command", "_helper", "tokenizer", "tokenizers_parallelism", "_provider"} {
		if strings.HasSuffix(n, end) {
			return true
		}
	}
	return false
}

// secretName says whether a variable or label is called as if it held a secret.
func secretName(name string) bool { return secretRE.MatchString(name) && !innocent(name) }

// secretIn says what secret a text holds by its form: a token, a key, a URL with a
// password; "" for none.
func secretIn(text string) string {
	return secretInBytes([]byte(text), true)
}

// secretInBytes is secretIn for contents; urls also looks for passwords in URLs.
func secretInBytes(b []byte, urls bool) string {
	if bytes.Contains(b, []byte("PRIVATE KEY")) && keyRE.Match(b) {
		return "a private key"
	}
	for _, t := range tokens {
		if bytes.Contains(b, []byte(t.anchor)) && t.re.Match(b) {
			return t.kind
		}
	}
	if urls && bytes.Contains(b, []byte("://")) {
		for _, m := range urlRE.FindAllSubmatch(b, -1) {
			if realPassword(string(m[2]), string(m[3])) {
				return "a URL with a password"
			}
		}
	}
	return ""
}

// realPassword tells a password of a URL from an example.
func realPassword(user, password string) bool {
	if harmless(password) || strings.ContainsAny(password, "${}%[]*") {
		return false
	}
	p := strings.ToLower(password)
	return !slices.Contains([]string{"pass", "password", "passwd", "pwd", "secret", "token", "proxy-password", strings.ToLower(user)}, p)
}

// secretInCommand says what secret a command line or script holds: one by its form,
// or an assignment or option whose name says so.
func secretInCommand(text string) string {
	if kind := secretIn(text); kind != "" {
		return kind
	}
	for _, m := range assignRE.FindAllStringSubmatch(text, -1) {
		if strings.TrimSpace(m[2]) != "" && secretName(m[1]) && !harmless(m[3]) && !strings.HasPrefix(m[1], "-") {
			return "a value for " + m[1]
		}
	}
	for _, m := range optionRE.FindAllStringSubmatch(text, -1) {
		if !harmless(m[2]) && !strings.HasPrefix(m[2], "-") {
			return "a value for " + strings.Trim(strings.TrimSpace(m[1]), "=:")
		}
	}
	return ""
}

// Blot replaces whatever looks like a secret in a text by "***".
func Blot(s string) string {
	if s == "" {
		return s
	}
	s = keyRE.ReplaceAllString(s, "***")
	for _, t := range tokens {
		if strings.Contains(s, t.anchor) {
			s = t.re.ReplaceAllString(s, "***")
		}
	}
	s = urlRE.ReplaceAllString(s, "$1***@")
	s = optionRE.ReplaceAllStringFunc(s, func(m string) string {
		g := optionRE.FindStringSubmatch(m)
		if harmless(g[2]) {
			return m
		}
		return g[1] + "***"
	})
	return assignRE.ReplaceAllStringFunc(s, func(m string) string {
		g := assignRE.FindStringSubmatch(m)
		if strings.TrimSpace(g[2]) == "" || !secretName(g[1]) || harmless(g[3]) {
			return m
		}
		return g[1] + g[2] + "***"
	})
}
