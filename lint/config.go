package lint

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// config is an image configuration, of a definition or of an image.
type config struct {
	env, labels         map[string]string
	entrypoint, cmd     []string
	user, workdir, stop string
	volumes, ports      []string
	target              bool // it belongs to a definition
	help                bool // the image has a help file
	result              pipelines.Node
	nodes               map[string]pipelines.Node // by "env NAME", "label NAME", "user" …
}

// apply adds what a step configures.
func (c *config) apply(n pipelines.Node, o pipelines.Configure) {
	if c.nodes == nil {
		c.nodes, c.env, c.labels = map[string]pipelines.Node{}, map[string]string{}, map[string]string{}
	}
	for k, v := range o.Env {
		c.env[k], c.nodes["env "+k] = v, n
	}
	for k, v := range o.Labels {
		c.labels[k], c.nodes["label "+k] = v, n
	}
	list := func(key string, to *[]string, from []string) {
		if from != nil {
			*to, c.nodes[key] = from, n
		}
	}
	list("entrypoint", &c.entrypoint, o.Entrypoint)
	list("command", &c.cmd, o.Cmd)
	for _, v := range o.Volumes {
		c.volumes, c.nodes["volume "+v] = append(c.volumes, v), n
	}
	for _, p := range o.ExposedPorts {
		c.ports, c.nodes["port "+p] = append(c.ports, p), n
	}
	if o.User != "" {
		c.user, c.nodes["user"] = o.User, n
	}
	if o.WorkingDir != "" {
		c.workdir, c.nodes["working directory"] = o.WorkingDir, n
	}
	if o.StopSignal != "" {
		c.stop = o.StopSignal
	}
}

// rules are the rules on configurations.
func (c *config) rules(to *collector) {
	add := func(rule, subject, format string, args ...any) {
		f := Finding{Subject: subject, Message: fmt.Sprintf(format, args...)}
		n, ok := c.nodes[subject]
		if !ok {
			n = c.result
		}
		if n.ID != "" {
			f.Where, f.Step = n.Where, n.Name
		}
		to.add(rule, f)
	}
	c.secrets(to, add)
	c.documents(add)
	c.process(add)
	for _, p := range c.ports {
		if port, _, _ := strings.Cut(p, "/"); port == "22" {
			add(SSHPort, "port "+p, "port %s is exposed: that of an SSH server", p)
		}
	}
	for _, v := range c.volumes {
		switch {
		case slices.Contains([]string{"/", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/var", "/boot", "/dev", "/proc", "/sys", "/run", "/root", "/opt"}, path.Clean(v)),
			below(v, "/etc"), below(v, "/usr") && !below(v, "/usr/local"), below(v, "/proc"), below(v, "/sys"), below(v, "/dev"), below(v, "/boot"):
			add(SystemVolume, "volume "+v, "the volume %s hides or shares a directory of the system", v)
		case boundDir(v) != "":
			add(BoundDirectory, "volume "+v, "the volume %s is hidden wherever %s is bound over", v, boundDir(v))
		}
	}
	if dir := boundDir(c.workdir); dir != "" {
		add(BoundDirectory, "working directory", "the working directory %s is hidden wherever %s is bound over", c.workdir, dir)
	}
	if v, ok := c.env["DEBIAN_FRONTEND"]; ok {
		add(FrontendKept, "env DEBIAN_FRONTEND", "DEBIAN_FRONTEND=%s stays in the image: packages that users install do not ask either", v)
	}
	if p, ok := c.env["PATH"]; ok {
		for _, dir := range strings.Split(p, ":") {
			if dir == "" || !path.IsAbs(dir) || boundDir(dir) != "" || below(dir, "/dev/shm") {
				add(BadPath, "env PATH", "PATH has %q: whoever can write there decides what runs", dir)
				break
			}
		}
	}
}

func (c *config) secrets(to *collector, add func(rule, subject, format string, args ...any)) {
	for _, k := range sortedKeys(c.env) {
		v := c.env[k]
		kind := secretIn(v)
		if kind == "" && secretName(k) && !harmless(v) {
			kind = "a value, and its name calls it secret"
		}
		if kind == "" {
			continue
		}
		add(SecretInEnv, "env "+k, "the variable %s holds %s", k, kind)
		if wellKnown(v) {
			to.out[len(to.out)-1].Severity = Warning
			to.out[len(to.out)-1].Message += ", though a well-known one"
		}
	}
	for _, k := range sortedKeys(c.labels) {
		v := c.labels[k]
		kind := secretIn(v)
		if kind == "" && secretName(k) && !harmless(v) {
			kind = "a value, and its name calls it secret"
		}
		if kind != "" {
			add(SecretInLabel, "label "+k, "the label %s holds %s", k, kind)
		}
	}
	for name, args := range map[string][]string{"entrypoint": c.entrypoint, "command": c.cmd} {
		if kind := secretInCommand(strings.Join(args, " ")); kind != "" {
			add(SecretInHistory, name, "the %s holds %s", name, kind)
		}
	}
}

const ociLabel = "org.opencontainers.image."

// documents are labels and help.
func (c *config) documents(add func(rule, subject, format string, args ...any)) {
	for _, k := range []string{"title", "description", "version"} {
		if strings.TrimSpace(c.labels[ociLabel+k]) == "" {
			add(MissingLabel, "label "+ociLabel+k, "the image has no label %s%s", ociLabel, k)
		}
	}
	for _, k := range []string{"source", "revision"} {
		if strings.TrimSpace(c.labels[ociLabel+k]) == "" {
			add(MissingOrigin, "label "+ociLabel+k, "the image has no label %s%s", ociLabel, k)
		}
	}
	if l := c.labels[ociLabel+"licenses"]; strings.TrimSpace(l) == "" {
		add(MissingLicenses, "label "+ociLabel+"licenses", "the image has no label %slicenses", ociLabel)
	} else if !spdx(l) {
		add(MissingLicenses, "label "+ociLabel+"licenses", "the label %slicenses is %q: not an SPDX expression", ociLabel, l)
	}
	if c.help {
		return
	}
	for _, k := range []string{ociLabel + "documentation", ociLabel + "url", "usage", "help", "RUN", "org.label-schema.usage", "org.label-schema.docker.cmd", "io.k8s.description", "url"} {
		if c.labels[k] != "" {
			return
		}
	}
	add(MissingHelp, "help", "nothing in the image says how to use it")
}

// spdx says whether a text has the form of an SPDX licence expression (SPDX 2.3,
// annex D); names are not looked up.
func spdx(s string) bool {
	words := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))
	depth, wantName := 0, true
	for _, w := range words {
		switch {
		case w == "(":
			if !wantName {
				return false
			}
			depth++
		case w == ")":
			if depth--; depth < 0 || wantName {
				return false
			}
		case w == "AND" || w == "OR" || w == "WITH":
			if wantName {
				return false
			}
			wantName = true
		default:
			if !wantName || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-+:") != "" {
				return false
			}
			wantName = false
		}
	}
	return depth == 0 && !wantName
}

var inits = []string{"tini", "tini-static", "dumb-init", "catatonit", "s6-svscan", "docker-init", "podman-init", "init", "systemd"}
var supervisors = []string{"supervisord", "systemd", "init", "s6-svscan", "runsvdir", "monit", "circusd", "forego"}

// process are the rules on what becomes PID 1.
func (c *config) process(add func(rule, subject, format string, args ...any)) {
	all := append(slices.Clone(c.entrypoint), c.cmd...)
	user, _, _ := strings.Cut(c.user, ":")
	if user == "" || user == "0" || user == "root" {
		add(RootUser, "user", "what the image runs is run by root")
	}
	if len(all) == 0 {
		return
	}
	for name, args := range map[string][]string{"entrypoint": c.entrypoint, "command": c.cmd} {
		if len(args) < 3 || !isShell(args[0]) || !strings.HasPrefix(args[1], "-") || !strings.HasSuffix(args[1], "c") || name == "command" && len(c.entrypoint) > 0 {
			continue
		}
		if last := lastCommand(args[2]); last != "exec" {
			add(ShellForm, name, "the %s is a shell that waits for its command: signals do not reach the program", name)
		}
	}
	first := path.Base(all[0])
	switch {
	case slices.Contains(supervisors, first) && len(c.ports) != 1:
		add(SeveralServices, "entrypoint", "%s runs several services in one container", first)
	case len(c.ports) > 0 && !slices.Contains(inits, first) && c.stop == "":
		add(NoInit, "entrypoint", "a service (it exposes %s) with %s as PID 1, no init and no StopSignal", strings.Join(c.ports, ", "), first)
	}
}

// lastCommand is "exec" where the last line of a script replaces the shell.
func lastCommand(script string) string {
	lines := strings.FieldsFunc(script, func(r rune) bool { return r == '\n' || r == ';' || r == '&' })
	if len(lines) == 0 {
		return ""
	}
	words := strings.Fields(lines[len(lines)-1])
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

func sortedKeys(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
