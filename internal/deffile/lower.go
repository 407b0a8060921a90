package deffile

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Options of [Lower].
type Options struct {
	// Site gives the mirrors that bootstrap agents use and the authorities that steps
	// with a network are lent.
	Site site.Site
	// Layout says where an image layout is, as "oci:DIRECTORY" or
	// "oci-archive:FILE". Nil: at its own path.
	Layout func(n pipelines.Node, o pipelines.Layout) (string, error)
	// Local says where a directory is, with what its patterns leave out left out. Nil:
	// at its own path, and patterns are refused.
	Local func(n pipelines.Node, o pipelines.Local) (string, error)
	// Base says how an image that a stage starts from is configured. Nil: not known.
	Base func(n pipelines.Node) pipelines.Configure
	// Mark, when not nil, gives a command that announces a step, or says that it ended.
	Mark func(n pipelines.Node, ended bool) string
	// NetworkNone: whoever builds sees to it that steps that ask for it have no
	// network; otherwise a comment says that they do.
	NetworkNone bool
	// OwnTmp gives steps the image's own /tmp and /var/tmp, where the variable [Private]
	// is 1 while Apptainer runs.
	OwnTmp bool
}

// Lower turns a graph into a definition that plain Apptainer builds. It fetches nothing
// and reads nothing of this machine. What definition files cannot say is a
// [builders.UnsupportedError] with the author's line, or, where leaving it out does no
// harm, a comment.
//
// Steps are kept in their order. Those that touch what Apptainer mounts from the host
// while it builds (/tmp, /var/tmp, /dev, /proc, /sys, /etc/hosts, /etc/resolv.conf) are
// the exception: they work on the image's own tree, in %setup, since in %post they would
// change the host; what steps write there is not in the image either way.
func Lower(ctx context.Context, g pipelines.Graph, o Options) (Definition, error) {
	l := &lowering{o: o, names: map[string]string{}}
	done := map[string]chain{}
	for _, n := range g.Nodes {
		if err := ctx.Err(); err != nil {
			return Definition{}, err
		}
		c, err := l.node(ctx, n, done)
		if err != nil {
			return Definition{}, err
		}
		done[n.ID] = c
	}
	last := done[g.ID()]
	if last.local != "" {
		return Definition{}, l.lack(g.Result(), "a directory is no image", "copy it into an image")
	}
	l.stages = append(l.stages, l.image(last))
	return Definition{Stages: l.stages, Config: last.config}, nil
}

// name of the builder in errors.
const name = "apptainer"

// lowering implements [builders.Lowering], and bootstraps besides.
type lowering struct {
	o      Options
	stages []Stage
	names  map[string]string // stages by the node they end with
}

var _ builders.Lowering[chain] = (*lowering)(nil)

// chain is a stage that is being made; a value.
type chain struct {
	node  pipelines.Node // it ends with
	local string         // a directory of this machine, no stage
	stage Stage
	// scratch: nothing in the image can run, so all is done from the host.
	scratch bool
	// posted: something happens in %post, which %setup can no longer come after.
	posted, library, copies, mounts, lent bool
	shows                                 int
	config                                pipelines.Configure
}

func (l *lowering) lack(n pipelines.Node, what, fix string) error {
	return &builders.UnsupportedError{Builder: name, Node: n, What: what, Fix: fix}
}

func (l *lowering) node(ctx context.Context, n pipelines.Node, done map[string]chain) (chain, error) {
	var base chain
	if len(n.Inputs) > 0 {
		base = done[n.Inputs[0]]
		base.stage = base.stage.clone()
	}
	var c chain
	var err error
	switch o := n.Op.(type) {
	case pipelines.Bootstrap:
		c, err = l.Bootstrap(ctx, n, o)
	case pipelines.Scratch:
		c, err = l.Scratch(ctx, n, o)
	case pipelines.Pull:
		c, err = l.Pull(ctx, n, o)
	case pipelines.Layout:
		c, err = l.Layout(ctx, n, o)
	case pipelines.Local:
		c, err = l.Local(ctx, n, o)
	case pipelines.Run:
		c, err = l.Run(ctx, n, base, mounts(n, done), o)
	case pipelines.Copy:
		c, err = l.Copy(ctx, n, base, done[n.Inputs[1]], o)
	case pipelines.File:
		c, err = l.File(ctx, n, base, o)
	case pipelines.Remove:
		c, err = l.Remove(ctx, n, base, o)
	case pipelines.Configure:
		c, err = l.Configure(ctx, n, base, o)
	default:
		err = l.lack(n, "is not known", "")
	}
	if len(n.Inputs) == 0 && l.o.Base != nil {
		c.config = l.o.Base(n)
	}
	c.node = n
	return c, err
}

// mounts are the images that a step is shown files of.
func mounts(n pipelines.Node, done map[string]chain) []chain {
	var out []chain
	for _, in := range n.Inputs[1:] {
		out = append(out, done[in])
	}
	return out
}

// clone: chains share nothing.
func (s Stage) clone() Stage {
	s.Comments, s.Header, s.Arguments, s.Files = slices.Clone(s.Comments), slices.Clone(s.Header), slices.Clone(s.Arguments), slices.Clone(s.Files)
	s.Setup, s.Post = slices.Clone(s.Setup), slices.Clone(s.Post)
	return s
}

// comment for people: the step and the author's line.
func comment(n pipelines.Node) string {
	s := n.Name
	if w := n.Where.String(); w != "" {
		s = w + ": " + s
	}
	return "# " + strings.ReplaceAll(strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "{{", "{ {"), "\x00", "")
}

// onHost adds commands that work on the image's tree from the host.
func (l *lowering) onHost(c *chain, n pipelines.Node, commands ...string) {
	c.stage.Setup = append(c.stage.Setup, comment(n))
	c.stage.Setup = append(c.stage.Setup, l.marked(n, commands)...)
}

// marked puts commands between the announcements of a step.
func (l *lowering) marked(n pipelines.Node, commands []string) []string {
	if l.o.Mark == nil {
		return commands
	}
	return slices.Concat([]string{l.o.Mark(n, false)}, commands, []string{l.o.Mark(n, true)})
}

// inImage adds commands that run in the image.
func (l *lowering) inImage(c *chain, n pipelines.Node, functions bool, commands ...string) {
	if !c.posted {
		c.posted = true
		c.stage.Post = append(c.stage.Post, "set +x\numask 022\nunset LD_LIBRARY_PATH PROMPT_COMMAND PS1\nexport DEBIAN_FRONTEND=noninteractive")
	}
	if functions && !c.library {
		c.library = true
		c.stage.Post = append(c.stage.Post, "R=\n"+library)
	}
	c.stage.Post = append(c.stage.Post, comment(n))
	c.stage.Post = append(c.stage.Post, l.marked(n, commands)...)
}

func (l *lowering) File(_ context.Context, n pipelines.Node, c chain, o pipelines.File) (chain, error) {
	if strings.ContainsAny(o.Path+o.Link, "\x00\r") {
		return c, l.lack(n, "its name "+ErrText.Error(), "choose another name")
	}
	if p := path.Clean(o.Path); c.scratch || l.ofHost(p) {
		if !c.scratch && o.Dir && slices.Contains(l.shared(), p) {
			return c, nil // it is there, with the host's mode while building and the image's after it
		}
		l.onHost(&c, n, file(o)...)
		return c, nil
	}
	l.inImage(&c, n, true, file(o)...)
	return c, nil
}

func (l *lowering) Remove(_ context.Context, n pipelines.Node, c chain, o pipelines.Remove) (chain, error) {
	for _, p := range o.Paths {
		if strings.ContainsAny(p, "\x00\r") {
			return c, l.lack(n, "the name "+ErrText.Error(), "choose another name")
		}
		switch {
		case c.scratch || l.reaches(p):
			l.onHost(&c, n, remove(p))
		default:
			l.inImage(&c, n, true, remove(p))
		}
	}
	return c, nil
}

func (l *lowering) Run(_ context.Context, n pipelines.Node, c chain, from []chain, o pipelines.Run) (chain, error) {
	other := "leave it out for Apptainer, or build with another builder and convert: cfbuild run --format sif needs no Apptainer"
	switch {
	case len(o.Secrets) > 0:
		return c, l.lack(n, "definition files have no secrets", other)
	case len(o.Caches) > 0:
		return c, l.lack(n, "definition files have no cache mounts", other)
	case len(o.Roots) > 0:
		return c, l.lack(n, "definition files give devices and processes to the image's own root only", other)
	}
	if user := o.User; user != "" && !root(user) || user == "" && !root(c.config.User) {
		return c, l.lack(n, "definition files run every step as root", "change the user in the step's script: setpriv --reuid …, su -c …")
	}
	var b strings.Builder
	if o.Network == pipelines.NetworkNone && !l.o.NetworkNone {
		b.WriteString("# It needs no network; a definition file cannot keep it from it.\n")
	}
	var trust lent
	if o.Network != pipelines.NetworkNone {
		trust = l.lend(&c)
	}
	b.WriteString("(\n" + trust.exports)
	if dir := or(o.Dir, c.config.WorkingDir); dir != "" {
		b.WriteString("cd " + quote(dir) + "\n")
	}
	env := maps.Clone(c.config.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, o.Env)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		b.WriteString("export " + k + "=" + quote(env[k]) + "\n")
	}
	words := o.Args
	var script []string // a file, where it is too long for an argument
	if len(words) == 0 {
		words = []string{"/bin/sh", "-e", "-c", o.Shell}
		if len(o.Shell) > maxSection/2 {
			script = file(pipelines.File{Path: stepScript, Data: []byte(o.Shell)})
			words = []string{"/bin/sh", "-e", stepScript}
		}
	}
	for i, w := range words {
		if strings.Contains(w, "\x00") {
			return c, l.lack(n, "a zero byte "+ErrText.Error(), "")
		}
		if i == 0 {
			b.WriteString("exec")
		}
		if plain(w) {
			b.WriteString(" " + quote(w))
		} else { // $( ) drops line ends at the end, so something stands behind them
			b.WriteString(` "$(printf '%b' ` + octal(w+"\n") + `)"`)
		}
	}
	b.WriteString(" </dev/null\n)")
	if b.Len() > maxSection {
		return c, l.lack(n, fmt.Sprintf("its command of %d bytes %s: more than %d", b.Len(), ErrText, maxSection), "put it in a file and run that")
	}
	c.scratch = false
	show, hide, err := l.shown(&c, n, from, o)
	if err != nil {
		return c, err
	}
	if len(script) > 0 {
		hide = append(hide, "rm -f "+stepScript)
	}
	l.inImage(&c, n, len(script) > 0, slices.Concat(show, script, trust.before, []string{b.String()}, trust.after, hide)...)
	return c, nil
}

// stepScript is a script that is too long for an argument, while it runs.
const stepScript = "/.cfbuild-script"

// root says whether a user as in an image's configuration is root.
func root(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	return name == "" || name == "0" || name == "root"
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
