package pipelines

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Containerfile writes the graph in the language of Containerfiles (Dockerfile
// reference, syntax 1.4 and newer: here-documents), for people who know that
// better. It says what is done, stage by stage; a [Bootstrap], which has no
// counterpart there, is a comment above FROM scratch, and [Local] directories are
// named build contexts.
func (g Graph) Containerfile(w io.Writer) error {
	c := containerfile{g: g, names: map[string]string{}}
	c.line("# syntax=docker/dockerfile:1")
	c.stages()
	_, err := io.WriteString(w, c.b.String())
	return err
}

type containerfile struct {
	g     Graph
	b     strings.Builder
	names map[string]string // of stages and contexts, by the node that ends them
	user  string            // of the stage that is being written, as configured
	dir   string
}

func (c *containerfile) line(format string, args ...any) { fmt.Fprintf(&c.b, format+"\n", args...) }

// comment writes text that may hold line ends.
func (c *containerfile) comment(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		c.line("# %s", strings.TrimRight(line, "\n"))
	}
}

// stages cuts the graph into chains. A chain ends at a node that something other
// than just one next step stands on, or that files are taken from.
func (c *containerfile) stages() {
	users, ends := map[string]int{}, map[string]bool{c.g.ID(): true}
	for _, n := range c.g.Nodes {
		for i, in := range n.Inputs {
			if users[in]++; users[in] > 1 || i > 0 {
				ends[in] = true
			}
		}
	}
	for _, end := range c.g.Nodes {
		if !ends[end.ID] {
			continue
		}
		chain := []Node{end}
		for len(chain[0].Inputs) > 0 {
			below, _ := c.g.Node(chain[0].Inputs[0])
			if ends[below.ID] {
				break
			}
			chain = slices.Insert(chain, 0, below)
		}
		c.stage(chain, end.ID == c.g.ID())
	}
}

func (c *containerfile) stage(chain []Node, last bool) {
	end := chain[len(chain)-1]
	if l, ok := end.Op.(Local); ok {
		c.names[end.ID] = fmt.Sprintf("context%d", len(c.names)+1)
		c.line("")
		c.comment("--build-context %s=%s", c.names[end.ID], or(l.Path, l.Digest))
		return
	}
	as := ""
	if !last {
		c.names[end.ID] = fmt.Sprintf("stage%d", len(c.names)+1)
		as = " AS " + c.names[end.ID]
	}
	c.line("")
	c.user, c.dir = "", ""
	if base := chain[0]; len(base.Inputs) > 0 {
		c.line("FROM %s%s", c.names[base.Inputs[0]], as)
	} else {
		c.from(base, as)
		chain = chain[1:]
	}
	for _, n := range chain {
		c.step(n)
	}
}

func (c *containerfile) from(n Node, as string) {
	flag := ""
	if n.Platform != c.g.Platform {
		flag = "--platform=" + n.Platform.String() + " "
	}
	switch o := n.Op.(type) {
	case Pull:
		c.line("FROM %s%s%s", flag, o.Ref, as)
	case Layout:
		at := ""
		if o.Digest != "" {
			at = "@" + o.Digest
		}
		c.comment("an OCI image layout")
		c.line("FROM %soci:%s%s%s", flag, o.Path, at, as)
	case Bootstrap:
		c.comment("A root filesystem made of packages by method %s for %s.", o.Method, n.Platform)
		for _, s := range o.Sources {
			c.comment("  from %s %s %s", s.Repository, s.Suite, strings.Join(s.Components, " "))
		}
		if o.Variant != "" {
			c.comment("  variant %s", o.Variant)
		}
		for _, l := range []struct {
			word  string
			names []string
		}{{"with", o.Include}, {"without", o.Exclude}} {
			if len(l.names) > 0 {
				c.comment("  %s %s", l.word, strings.Join(l.names, " "))
			}
		}
		c.line("FROM %sscratch%s", flag, as)
	default:
		c.line("FROM %sscratch%s", flag, as)
	}
}

func (c *containerfile) step(n Node) {
	if w := n.Where.String(); w != "" {
		c.comment("%s", w)
	}
	switch o := n.Op.(type) {
	case Run:
		c.run(n, o)
	case Copy:
		words := append(slices.Clone(o.Src), o.Dst)
		flags := " --from=" + c.names[n.Inputs[1]]
		if o.Owner != "" {
			flags += " --chown=" + o.Owner
		}
		if o.Mode != 0 {
			flags += fmt.Sprintf(" --chmod=%04o", o.Mode.Perm())
		}
		c.line("COPY%s %s", flags, words2json(words))
	case File:
		c.file(o)
	case Remove:
		c.line("RUN rm -rf %s", strings.Join(o.Paths, " "))
	case Configure:
		c.configure(o)
	}
}

func (c *containerfile) run(n Node, o Run) {
	if o.User != "" && o.User != c.user {
		c.line("USER %s", o.User)
		defer c.line("USER %s", or(c.user, "0"))
	}
	if o.Dir != "" && o.Dir != c.dir {
		c.line("WORKDIR %s", o.Dir)
		defer c.line("WORKDIR %s", or(c.dir, "/"))
	}
	flags := ""
	if o.Network == NetworkNone {
		flags += " --network=none"
	}
	for _, s := range o.Secrets {
		flags += " --mount=type=secret,id=" + s.ID
		if s.Env != "" {
			flags += ",env=" + s.Env
		} else if s.Target != "" {
			flags += ",target=" + s.Target
		}
		if s.Mode != 0 {
			flags += fmt.Sprintf(",mode=%04o", s.Mode.Perm())
		}
		if !s.Optional {
			flags += ",required=true"
		}
	}
	for _, m := range o.Caches {
		flags += " --mount=type=cache,target=" + m.Target
		if m.ID != "" {
			flags += ",id=" + m.ID
		}
	}
	for i, m := range o.Mounts {
		flags += fmt.Sprintf(" --mount=type=bind,from=%s,source=%s,target=%s", c.names[n.Inputs[1+i]], m.Src, m.Target)
	}
	if len(o.Args) > 0 {
		args := o.Args
		if len(o.Env) > 0 {
			args = []string{"env"}
			for _, k := range slices.Sorted(maps.Keys(o.Env)) {
				args = append(args, k+"="+o.Env[k])
			}
			args = append(args, o.Args...)
		}
		c.line("RUN%s %s", flags, words2json(args))
		return
	}
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, k := range slices.Sorted(maps.Keys(o.Env)) {
		fmt.Fprintf(&script, "export %s=%s\n", k, quote(o.Env[k]))
	}
	script.WriteString(o.Shell)
	c.heredoc("RUN"+flags, "", script.String())
}

// heredoc writes text under an end word that is no line of it.
func (c *containerfile) heredoc(instruction, after, text string) {
	end := "EOF"
	for slices.Contains(strings.Split(text, "\n"), end) {
		end += "F"
	}
	c.line("%s <<'%s'%s", instruction, end, after)
	c.b.WriteString(text)
	if !strings.HasSuffix(text, "\n") && text != "" {
		c.line("")
	}
	c.line("%s", end)
}

func (c *containerfile) file(o File) {
	owner, mode := or(o.Owner, "0:0"), o.Mode
	if mode == 0 {
		mode = 0o644
		if o.Dir {
			mode = 0o755
		}
	}
	switch {
	case o.Link != "":
		c.line("RUN mkdir -p %s && ln -s %s %s && chown -h %s %s", quote(path.Dir(o.Path)), quote(o.Link), quote(o.Path), owner, quote(o.Path))
	case o.Dir:
		c.line("RUN mkdir -p %s && chown %s %[1]s && chmod %04[3]o %[1]s", quote(o.Path), owner, mode)
	case !utf8.Valid(o.Data) || strings.ContainsAny(string(o.Data), "\x00\r") || strings.ContainsAny(o.Path, " \t\"'\\$"):
		c.comment("%d bytes, sha256:%x", len(o.Data), sha256.Sum256(o.Data))
		c.heredoc("RUN", "", fmt.Sprintf("mkdir -p %s\nbase64 -d > %s <<'END'\n%s\nEND\nchown %s %[2]s && chmod %04[5]o %[2]s",
			quote(path.Dir(o.Path)), quote(o.Path), base64.StdEncoding.EncodeToString(o.Data), owner, mode))
	default:
		if len(o.Data) > 0 && o.Data[len(o.Data)-1] != '\n' {
			c.comment("without the line end after the last line:")
		}
		c.heredoc(fmt.Sprintf("COPY --chown=%s --chmod=%04o", owner, mode), " "+o.Path, string(o.Data))
	}
}

func (c *containerfile) configure(o Configure) {
	for _, m := range []struct {
		word string
		of   map[string]string
	}{{"ENV", o.Env}, {"LABEL", o.Labels}} {
		for _, k := range slices.Sorted(maps.Keys(m.of)) {
			c.line("%s %s=%s", m.word, k, doubleQuoted(m.of[k]))
		}
	}
	if o.Author != "" {
		c.comment("author: %s", o.Author)
	}
	for _, p := range o.ExposedPorts {
		c.line("EXPOSE %s", p)
	}
	if len(o.Volumes) > 0 {
		c.line("VOLUME %s", words2json(o.Volumes))
	}
	if o.WorkingDir != "" {
		c.dir = o.WorkingDir
		c.line("WORKDIR %s", o.WorkingDir)
	}
	if o.User != "" {
		c.user = o.User
		c.line("USER %s", o.User)
	}
	if o.StopSignal != "" {
		c.line("STOPSIGNAL %s", o.StopSignal)
	}
	if len(o.Entrypoint) > 0 {
		c.line("ENTRYPOINT %s", words2json(o.Entrypoint))
	}
	if len(o.Cmd) > 0 {
		c.line("CMD %s", words2json(o.Cmd))
	}
}

// words2json is the exec form.
func words2json(words []string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(words) // strings always encode
	return strings.TrimSpace(b.String())
}

// quote for /bin/sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// doubleQuoted for ENV and LABEL: nothing in it is replaced.
func doubleQuoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`).Replace(s) + `"`
}
