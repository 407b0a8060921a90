package lint

import (
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// What a package manager is told to do.
const (
	actIndex   = "index"
	actInstall = "install"
	actUpgrade = "upgrade"
	actRemove  = "remove"
	actClean   = "clean"
)

// managed is what one command has a package manager do.
type managed struct {
	manager  string // apt, dnf, zypper, apk, pip, conda, npm
	action   string
	packages []string
}

// managers by program name.
var managers = map[string]string{
	"apt-get": "apt", "apt": "apt", "aptitude": "apt", "dnf": "dnf", "dnf5": "dnf", "yum": "dnf", "microdnf": "dnf", "tdnf": "dnf",
	"zypper": "zypper", "apk": "apk", "pip": "pip", "pip3": "pip", "conda": "conda", "mamba": "conda", "micromamba": "conda", "npm": "npm",
}

// actions by the manager's own word for them.
var actions = map[string]map[string]string{
	"apt": {"update": actIndex, "install": actInstall, "upgrade": actUpgrade, "dist-upgrade": actUpgrade, "full-upgrade": actUpgrade,
		"remove": actRemove, "purge": actRemove, "autoremove": actRemove, "autopurge": actRemove, "clean": actClean},
	"dnf": {"makecache": actIndex, "install": actInstall, "groupinstall": actInstall, "localinstall": actInstall, "update": actUpgrade, "upgrade": actUpgrade,
		"distro-sync": actUpgrade, "remove": actRemove, "erase": actRemove, "autoremove": actRemove, "clean": actClean},
	"zypper": {"refresh": actIndex, "ref": actIndex, "install": actInstall, "in": actInstall, "update": actUpgrade, "up": actUpgrade, "patch": actUpgrade,
		"dist-upgrade": actUpgrade, "dup": actUpgrade, "remove": actRemove, "rm": actRemove, "clean": actClean, "cc": actClean},
	"apk":   {"update": actIndex, "add": actInstall, "upgrade": actUpgrade, "del": actRemove},
	"pip":   {"install": actInstall, "uninstall": actRemove},
	"conda": {"install": actInstall, "create": actInstall, "update": actUpgrade, "remove": actRemove, "clean": actClean},
	"npm":   {"install": actInstall, "i": actInstall, "ci": actInstall, "uninstall": actRemove},
}

// manages reads a command of a package manager; ok is false for all others.
func manages(c command) (managed, bool) {
	name := c.name()
	words := c.words
	if strings.HasPrefix(name, "python") && len(words) > 3 && words[1] == "-m" && words[2] == "pip" {
		name, words = "pip", words[2:]
	}
	m := managed{manager: managers[name]}
	if m.manager == "" {
		return m, false
	}
	verb, args := command{words: words}.verb()
	if m.action = actions[m.manager][verb]; m.action == "" {
		return m, false
	}
	for _, a := range args {
		if !strings.ContainsAny(a, "$<>*/") {
			name, _, _ := strings.Cut(a, "=")
			m.packages = append(m.packages, name)
		}
	}
	return m, true
}

// asks says whether a command may stop for an answer.
func asks(c command, m managed) bool {
	if m.action != actInstall && m.action != actUpgrade && m.action != actRemove {
		return false
	}
	short := func(letters string) bool {
		return slices.ContainsFunc(c.words[1:], func(w string) bool {
			return strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--") && strings.ContainsAny(w[1:], letters)
		})
	}
	switch m.manager {
	case "apt":
		return !short("y") && !c.has("--yes", "--assume-yes", "-qq", "-q=2", "--simulate", "--download-only") && !strings.Contains(strings.ToLower(strings.Join(c.words, " ")), "assume-yes")
	case "dnf":
		return c.name() != "microdnf" && !short("y") && !c.has("--assumeyes", "--setopt=assumeyes=1", "--downloadonly")
	case "zypper":
		return !short("ny") && !c.has("--non-interactive", "--no-confirm")
	case "conda":
		return c.name() != "micromamba" && !short("y") && !c.has("--yes")
	}
	return false
}

// cleaned says what marks that a step leaves no cache of a manager behind: words of
// a cleaning command, or directories that are removed or mounted.
var cleaned = map[string]struct {
	dirs []string
	has  []string
}{
	"apt":    {dirs: []string{"/var/lib/apt/lists", "/var/lib/apt"}},
	"dnf":    {dirs: []string{"/var/cache/dnf", "/var/cache/yum", "/var/cache/libdnf5", "/var/cache"}},
	"zypper": {dirs: []string{"/var/cache/zypp", "/var/cache"}},
	"apk":    {dirs: []string{"/var/cache/apk", "/etc/apk/cache", "/var/cache"}, has: []string{"--no-cache"}},
	"pip":    {dirs: []string{"/root/.cache", "/root/.cache/pip", "~/.cache", "~/.cache/pip"}, has: []string{"--no-cache-dir", "--no-cache"}},
	"conda":  {dirs: []string{"/opt/conda/pkgs"}},
	"npm":    {dirs: []string{"/root/.npm", "~/.npm", "/root/.npm/_cacache"}},
}

// leaves says which managers' caches a step fills and does not clean up.
func leaves(r pipelines.Run, cmds []command) []string {
	var fills []string
	clean := map[string]bool{}
	for _, c := range cmds {
		if m, ok := manages(c); ok {
			switch {
			case m.action == actClean && m.manager != "apt": // apt-get clean keeps the indexes
				clean[m.manager] = true
			case m.action == actClean, m.action == actRemove, m.manager == "apt" && m.action != actIndex:
			case c.has(cleaned[m.manager].has...):
			case !slices.Contains(fills, m.manager):
				fills = append(fills, m.manager)
			}
		}
		if c.name() == "npm" && c.has("cache") && c.has("clean") || c.name() == "pip" && c.has("cache") && c.has("purge") {
			clean[managers[c.name()]] = true
		}
		if c.name() == "rm" || c.name() == "find" {
			for manager, how := range cleaned {
				for _, w := range c.words[1:] {
					if slices.ContainsFunc(how.dirs, func(d string) bool { return below(w, d) || w == d+"/*" }) {
						clean[manager] = true
					}
				}
			}
		}
	}
	for _, m := range r.Caches {
		for manager, how := range cleaned {
			if slices.ContainsFunc(how.dirs, func(d string) bool { return path.Clean(m.Target) == d }) {
				clean[manager] = true
			}
		}
	}
	if r.Env["PIP_NO_CACHE_DIR"] != "" {
		clean["pip"] = true
	}
	return slices.DeleteFunc(fills, func(m string) bool { return clean[m] })
}

// below says whether a path is a directory or lies in it.
func below(p, dir string) bool {
	p = path.Clean(p)
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}
