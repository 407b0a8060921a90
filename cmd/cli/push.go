package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/publishers/tags"
)

var (
	nameRE = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`) // distribution spec, one element of "name"
	hostRE = regexp.MustCompile(`^(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+:[0-9]+|\[[0-9a-fA-F:]+\]|localhost:[0-9]+|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+:[0-9]+|\[[0-9a-fA-F:]+\]:[0-9]+)$`)
)

// destination gives the repository of each target, and the tag that REF held.
// "auto" pushes in a GitLab job with a registry and nowhere else.
func (p *program) destination(push string, ts []pipelines.Target) (repos map[string]string, tag string, err error) {
	switch push {
	case "never":
		return nil, "", nil
	case "auto":
		image := p.env.Getenv("CI_REGISTRY_IMAGE")
		if image == "" {
			return nil, "", nil
		}
		repos = map[string]string{}
		for _, t := range ts {
			repos[t.Name] = image + "/" + t.Name
		}
		return repos, "", nil
	}
	ref, tag, cause, fix := splitRef(push)
	if cause != "" {
		return nil, "", usagef(fix, "--push %q: %s", push, cause)
	}
	repos = map[string]string{}
	for _, t := range ts {
		repos[t.Name] = ref
		if len(ts) > 1 {
			repos[t.Name] = ref + "/" + t.Name
		}
	}
	return repos, tag, nil
}

// splitRef reads HOST[:PORT]/NAME[:TAG]; a cause says why it is none, and fix what to
// write.
func splitRef(ref string) (repo, tag, cause, fix string) {
	bad := func(cause, fix string) (string, string, string, string) { return "", "", cause, fix }
	const form = "write it as HOST[:PORT]/NAME[:TAG], or auto or never"
	if near := pipelines.Nearest(ref, []string{"auto", "never"}, 1); !strings.Contains(ref, "/") && len(near) > 0 {
		return bad("names no registry", "did you mean "+near[0]+"? "+form)
	}
	if _, rest, ok := strings.Cut(ref, "://"); ok {
		return bad("is a URL", "write "+rest)
	}
	if strings.Contains(ref, "@") {
		return bad("has a digest, which is what pushing makes", form)
	}
	slash := strings.LastIndexByte(ref, '/')
	if i := strings.LastIndexByte(ref, ':'); i > slash && slash >= 0 {
		ref, tag = ref[:i], ref[i+1:]
		if !tags.Legal(tag) {
			return bad("its tag is not legal", "a tag is letters, digits, '.', '_' and '-', at most 128")
		}
	}
	host, name, _ := strings.Cut(ref, "/")
	if !hostRE.MatchString(host) {
		return bad("names no registry", form)
	}
	for _, part := range strings.Split(strings.TrimSuffix(name, "/"), "/") {
		if !nameRE.MatchString(part) {
			return bad("its name is not legal", "each part of a name is lower-case letters and digits, with '.', '_' and '-' between")
		}
	}
	return strings.TrimSuffix(ref, "/"), tag, "", ""
}

// credentials reads what GitLab hands a job, by registry host.
func (p *program) credentials() (map[string]publishers.Credential, error) {
	get := p.env.Getenv
	out := map[string]publishers.Credential{}
	if text := get("DOCKER_AUTH_CONFIG"); text != "" {
		if err := dockerAuth(text, out); err != nil {
			return nil, usagef("it is to hold what docker login writes to config.json, on one line", "DOCKER_AUTH_CONFIG: %s", err)
		}
	}
	add := func(host, user, password, from string) bool {
		if host == "" || user == "" || password == "" {
			return false
		}
		out[host] = publishers.Credential{User: user, Password: password, From: from}
		return true
	}
	if !add(get("CI_REGISTRY"), get("CI_REGISTRY_USER"), get("CI_REGISTRY_PASSWORD"), "CI_REGISTRY_PASSWORD") {
		add(get("CI_REGISTRY"), "gitlab-ci-token", get("CI_JOB_TOKEN"), "CI_JOB_TOKEN")
	}
	add(get("CI_DEPENDENCY_PROXY_SERVER"), get("CI_DEPENDENCY_PROXY_USER"), get("CI_DEPENDENCY_PROXY_PASSWORD"), "CI_DEPENDENCY_PROXY_PASSWORD")
	return out, nil
}

func dockerAuth(text string, out map[string]publishers.Credential) error {
	var conf struct {
		Auths map[string]struct{ Auth, Username, Password string }
	}
	if err := json.Unmarshal([]byte(text), &conf); err != nil {
		return errNotJSON // the parser's own message may quote a secret
	}
	for host, a := range conf.Auths {
		user, password := a.Username, a.Password
		if a.Auth != "" {
			b, err := base64.StdEncoding.DecodeString(a.Auth)
			if err != nil {
				return errNotBase64
			}
			user, password, _ = strings.Cut(string(b), ":")
		}
		host = strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://")
		host, _, _ = strings.Cut(host, "/")
		if user != "" {
			out[host] = publishers.Credential{User: user, Password: password, From: "DOCKER_AUTH_CONFIG"}
		}
	}
	return nil
}

var (
	errNotJSON   = errors.New("is not JSON")
	errNotBase64 = errors.New("an auth entry is not base64")
)
