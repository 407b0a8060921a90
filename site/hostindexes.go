package site

import (
	"os"
	"strings"
)

// hostIndexes reads which language indexes this machine uses: the variables of
// pip, npm and conda, and the configuration files of pip and npm, the user's before
// the machine's. They are BuildOnly, and the public ones follow.
func hostIndexes(o LoadOptions, note func(string, ...any)) map[string][]Mirror {
	home := o.getenv("HOME")
	own := map[string][]Mirror{}
	add := func(kind, from, raw string) {
		if raw == "" || len(own[kind]) > 0 {
			return
		}
		u, bad := cleanIndex(kind, raw)
		if bad != nil {
			note("%s: left out: %s", from, bad.cause)
			return
		}
		own[kind] = []Mirror{{URL: u, BuildOnly: true}}
	}
	for _, v := range []struct{ kind, name string }{
		{"pypi", "PIP_INDEX_URL"}, {"npm", "npm_config_registry"}, {"npm", "NPM_CONFIG_REGISTRY"}, {"conda", "CONDA_CHANNEL_ALIAS"},
	} {
		add(v.kind, "$"+v.name, o.getenv(v.name))
	}
	for _, f := range []struct {
		kind, path, key string
		home            bool
	}{
		{"pypi", "/.config/pip/pip.conf", "index-url", true}, {"pypi", "/.pip/pip.conf", "index-url", true}, {"pypi", "/etc/pip.conf", "index-url", false},
		{"npm", "/.npmrc", "registry", true}, {"npm", "/usr/local/etc/npmrc", "registry", false}, {"npm", "/etc/npmrc", "registry", false},
	} {
		path := f.path
		if f.home {
			if !strings.HasPrefix(home, "/") {
				continue
			}
			path = home + path
		}
		data, err := os.ReadFile(o.root(path))
		if err != nil {
			continue // most machines have none of these
		}
		add(f.kind, path, iniValue(string(data), f.key))
	}
	return before(own, Public().Indexes)
}

// iniValue finds "key = value" of an INI file, in [global] or before any section,
// which is all that pip and npm need.
func iniValue(text, key string) string {
	section := "global"
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[]")
			continue
		}
		k, v, is := strings.Cut(line, "=")
		if is && section == "global" && strings.ReplaceAll(strings.TrimSpace(k), "_", "-") == key {
			return strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return ""
}
