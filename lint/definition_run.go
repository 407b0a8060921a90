package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// run are the rules on a step. A secret counts in every step; what it does to
// packages counts where the step is part of the result, not of an image that only
// files are copied from.
func (d *definition) run(n pipelines.Node, r pipelines.Run) {
	d.runSecrets(n, r)
	cmds := script(r)
	d.runDownloads(n, cmds)
	d.runSignatures(n, cmds)
	if !slices.ContainsFunc(d.chain, func(c pipelines.Node) bool { return c.ID == n.ID }) {
		return
	}
	d.runPackages(n, r, cmds)
	for _, m := range leaves(r, cmds) {
		d.at(PackageCache, n, m+" cache: "+n.Name, "the step fills the cache of %s and does not clean it up", m)
	}
	for _, c := range cmds {
		switch c.name() {
		case "git":
			if verb, args := c.verb(); verb == "clone" && len(args) > 1 {
				d.bound(n, args[len(args)-1])
			}
		case "mkdir", "install", "cp", "mv", "touch":
			if len(c.words) > 1 {
				d.bound(n, c.words[len(c.words)-1])
			}
		case "chmod":
			d.chmod(n, c)
		}
		d.startUp(n, c)
	}
}

// runSecrets looks at what a step writes down: its script and environment.
func (d *definition) runSecrets(n pipelines.Node, r pipelines.Run) {
	texts := append([]string{r.Shell}, r.Args...)
	if r.Shell == "" {
		texts = append(texts, strings.Join(r.Args, " "))
	}
	for _, text := range texts {
		if kind := secretInCommand(text); kind != "" {
			d.at(SecretInHistory, n, "step "+n.Name, "the step's command holds %s", kind)
			break
		}
	}
	for _, k := range sortedKeys(r.Env) {
		v := r.Env[k]
		if kind := secretIn(v); kind != "" || secretName(k) && !harmless(v) {
			if kind == "" {
				kind = "a value that its name calls secret"
			}
			d.at(SecretInHistory, n, "step "+n.Name+" env "+k, "the step's variable %s holds %s; it is part of the definition and of plans", k, kind)
		}
	}
}

// interpreters run what they are handed.
var interpreters = []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "python", "python3", "perl", "ruby", "node", "php"}

func fetches(c command) bool {
	return slices.Contains([]string{"curl", "wget", "aria2c"}, c.name())
}

func urlOf(c command) string {
	for _, w := range c.words {
		if i := strings.Index(w, "://"); i > 0 && !strings.HasPrefix(w, "file:") {
			url, _, _ := strings.Cut(w, "?")
			return url
		}
	}
	return ""
}

// runDownloads are the rules on what a step fetches by itself.
func (d *definition) runDownloads(n pipelines.Node, cmds []command) {
	checks := slices.ContainsFunc(cmds, func(c command) bool {
		switch c.name() {
		case "sha256sum", "sha512sum", "sha384sum", "sha224sum", "shasum", "b2sum", "sha1sum", "md5sum":
			return c.has("-c", "--check", "--status", "-sc", "-cs") || slices.ContainsFunc(c.words, func(w string) bool { return strings.HasPrefix(w, "-") && strings.Contains(w, "c") })
		case "gpgv", "gpgv2", "cosign", "minisign", "signify":
			return true
		case "gpg", "gpg2", "openssl":
			return c.has("--verify", "-verify", "dgst")
		}
		return false
	})
	for i, c := range cmds {
		if isInterpreter(c) {
			for _, w := range c.words[1:] {
				if strings.Contains(w, "$(curl") || strings.Contains(w, "$(wget") || strings.Contains(w, "`curl") || strings.Contains(w, "`wget") {
					d.at(RemoteScript, n, "step "+n.Name, "a download is run by %s as it comes", c.name())
				}
			}
			if last := c.words[len(c.words)-1]; last == "<" && i+1 < len(cmds) && fetches(cmds[i+1]) {
				d.at(RemoteScript, n, "step "+n.Name, "a download is run by %s as it comes", c.name())
			}
		}
		if !fetches(c) {
			continue
		}
		url := urlOf(c)
		if end := pipeEnd(cmds, i); end >= 0 {
			d.at(RemoteScript, n, or(url, "step "+n.Name), "what comes from %s is run by %s as it comes", or(url, "the network"), cmds[end].name())
			continue
		}
		if url == "" || checks || !keeps(c) && !c.piped {
			continue
		}
		d.at(FetchUnverified, n, url, "what comes from %s is not compared with a checksum or signature", url)
	}
}

// pipeEnd finds the interpreter that a pipe leads to, -1 for none.
func pipeEnd(cmds []command, i int) int {
	for ; i < len(cmds)-1 && cmds[i].piped; i++ {
		if isInterpreter(cmds[i+1]) {
			return i + 1
		}
	}
	return -1
}

func isInterpreter(c command) bool {
	return slices.Contains(interpreters, strings.TrimRight(c.name(), "0123456789.")) || slices.Contains(interpreters, c.name())
}

func isShell(program string) bool {
	return slices.Contains(interpreters[:6], command{words: []string{program}}.name())
}

// keeps says whether a download ends in a file.
func keeps(c command) bool {
	if c.name() != "curl" {
		return !c.has("-O-", "-qO-", "--spider") && !(c.has("-O", "--output-document") && c.has("-"))
	}
	return slices.ContainsFunc(c.words, func(w string) bool {
		return strings.HasPrefix(w, ">") || w == "--output" || w == "--remote-name" || strings.HasPrefix(w, "--output=") ||
			strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--") && strings.ContainsAny(w, "oO")
	})
}

// runSignatures are switches that turn checks off.
func (d *definition) runSignatures(n pipelines.Node, cmds []command) {
	for _, c := range cmds {
		for _, w := range c.words {
			if off := signatureSwitch(c.name(), w); off {
				d.at(SignaturesOff, n, fmt.Sprintf("step %s: %s %s", n.Name, c.name(), w), "%s %s switches a check off", c.name(), w)
			}
		}
	}
}

func signatureSwitch(program, w string) bool {
	switch program {
	case "apt-get", "apt", "aptitude":
		return w == "--allow-unauthenticated" || w == "--allow-insecure-repositories" || strings.Contains(w, "AllowUnauthenticated=true") || strings.Contains(w, "AllowInsecureRepositories=true")
	case "dnf", "yum", "microdnf", "dnf5":
		return w == "--nogpgcheck" || w == "--no-gpgchecks" || w == "--setopt=gpgcheck=0" || strings.HasSuffix(w, "sslverify=0") || strings.HasSuffix(w, "sslverify=false")
	case "zypper":
		return w == "--no-gpg-checks" || w == "--allow-unsigned-rpm" || w == "--no-gpg-check"
	case "apk":
		return w == "--allow-untrusted"
	case "curl":
		return w == "-k" || w == "--insecure" || strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--") && strings.HasSuffix(w, "k")
	case "wget":
		return w == "--no-check-certificate"
	case "pip", "pip3":
		return w == "--trusted-host" || strings.HasPrefix(w, "--trusted-host=")
	case "npm":
		return w == "strict-ssl=false"
	}
	return false
}

// runPackages are the rules on package managers of a step.
func (d *definition) runPackages(n pipelines.Node, r pipelines.Run, cmds []command) {
	updated, used := false, false
	frontend := d.frontend || r.Env["DEBIAN_FRONTEND"] != ""
	var index *command
	for i, c := range cmds {
		if c.env["DEBIAN_FRONTEND"] != "" || c.name() == "export" && slices.ContainsFunc(c.words, func(w string) bool { return strings.HasPrefix(w, "DEBIAN_FRONTEND=") }) {
			frontend = true
		}
		m, ok := manages(c)
		if !ok {
			continue
		}
		if asks(c, m) {
			d.at(Interactive, n, fmt.Sprintf("step %s: %s %s", n.Name, c.name(), m.action), "%s may stop and ask", oneLine(strings.Join(c.words[:min(4, len(c.words))], " ")))
		}
		if m.manager == "apt" {
			switch m.action {
			case actIndex:
				updated, index = true, &cmds[i]
			case actInstall, actUpgrade:
				if m.action == actInstall && !updated && len(m.packages) > 0 {
					d.at(IndexMissing, n, "step "+n.Name, "apt installs with the index of an earlier step, which a cache may have kept for long")
				}
				if !frontend {
					d.at(FrontendMissing, n, "step "+n.Name, "apt may put questions: DEBIAN_FRONTEND is not set for the step")
				}
				used = true
			}
		}
		for _, p := range m.packages {
			key := m.manager + " " + p
			switch m.action {
			case actInstall:
				d.installs(n, p)
				if _, ok := d.installed[key]; !ok {
					d.installed[key] = n
				}
			case actRemove:
				if by, ok := d.installed[key]; ok && by.ID != n.ID {
					d.at(PackagesUndone, n, p, "removes %s, which the step %q installed: it stays in that layer", p, oneLine(by.Name))
				}
			}
		}
	}
	if updated && !used && index != nil {
		d.at(IndexAlone, n, "step "+n.Name, "apt-get update stands in a step without install: its result is kept by caches and gets old")
	}
}

func (d *definition) chmod(n pipelines.Node, c command) {
	if len(c.words) < 3 {
		return
	}
	for i, w := range c.words[1:] {
		if strings.HasPrefix(w, "-") {
			continue
		}
		digits := strings.TrimLeft(w, "0")
		open := len(digits) >= 3 && len(digits) <= 3 && strings.Trim(digits, "01234567") == "" && strings.ContainsAny(digits[2:], "2367") ||
			w == "o+w" || w == "a+w" || w == "a+rwx" || w == "a+rwX" || w == "ugo+rwx"
		if open {
			for _, p := range c.words[i+2:] {
				d.at(WorldWritable, n, p, "chmod %s: everyone may write to %s", w, p)
			}
		}
		return
	}
}

// startUp finds variables written into start-up files of shells.
func (d *definition) startUp(n pipelines.Node, c command) {
	for i, w := range c.words {
		if !strings.HasPrefix(w, ">") {
			continue
		}
		to := strings.TrimLeft(w, ">")
		if to == "" && i+1 < len(c.words) {
			to = c.words[i+1]
		}
		text := strings.Join(c.words, " ")
		if startUpFile(to) && (strings.Contains(text, "export ") || to == "/etc/environment") {
			d.at(EnvInFile, n, to, "variables are written into %s", to)
		}
	}
}
