package deffile

import (
	"context"
	"fmt"
	"path"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Files of a stage, at its root: where its tree is on the host, for stages that copy
// from it. Apptainer's own %files loses owners, so that this is all it is used for.
const (
	ownRoot   = "/.cfbuild-root"
	otherRoot = "/.cfbuild-from"
)

func (l *lowering) Local(_ context.Context, n pipelines.Node, o pipelines.Local) (chain, error) {
	if l.o.Local != nil {
		dir, err := l.o.Local(n, o)
		return chain{local: dir}, err
	}
	if len(o.Include)+len(o.Exclude) > 0 {
		return chain{}, l.lack(n, "definition files take directories whole", "drop Include and Exclude, or copy single files with Src")
	}
	if o.Path == "" {
		return chain{}, l.lack(n, "the directory is not known, only its digest", "")
	}
	return chain{local: o.Path}, nil
}

func (l *lowering) Copy(_ context.Context, n pipelines.Node, c, from chain, o pipelines.Copy) (chain, error) {
	// Host scripts come before what runs in the image; so what was done in it so far
	// becomes a stage of its own, and the copy goes into a new one.
	if c.posted {
		c = l.onTop(c)
	}
	owner := o.Owner
	root := ""
	if from.local != "" {
		root = quote(from.local)
		if owner == "" {
			owner = "0:0"
		}
	} else {
		root = `"$(cat "$R` + l.take(&c, from) + `")"`
	}
	mode := "''"
	if o.Mode != 0 {
		mode = fmt.Sprintf("%04o", o.Mode.Perm())
	}
	if owner == "" {
		owner = "''"
	}
	c.copies = true
	merge := "yes" // directories that are there keep their attributes
	if c.scratch && len(c.stage.Setup) == 0 {
		merge = "" // they are Apptainer's own
	}
	l.onHost(&c, n, "cf_merge="+merge, fmt.Sprintf("cf_copy %s %s %s %s %s", owner, mode, root, quote(o.Dst), quoteAll(o.Src)))
	return c, nil
}

// shown puts what a step's mounts show into the stage, and gives the commands before
// and after the step: what has the place is moved aside for that time.
func (l *lowering) shown(c *chain, n pipelines.Node, from []chain, o pipelines.Run) (show, hide []string, err error) {
	for i, m := range o.Mounts {
		if l.ofHost(path.Clean(m.Target)) {
			return nil, nil, l.lack(n, m.Target+" is the host's while Apptainer builds: nothing can be shown there", "show it elsewhere")
		}
		root := quote(from[i].local)
		if from[i].local == "" {
			root = `"$(cat "$R` + l.take(c, from[i]) + `")"`
		}
		c.shows++
		at := fmt.Sprintf("/.cfbuild-mount%d", c.shows)
		l.onHost(c, n, fmt.Sprintf(`cp -a %s%s "$R%s"`, root, quote(path.Clean(m.Src)), at))
		show = append(show, "cf_show "+at+" "+quote(path.Clean(m.Target)))
		hide = append([]string{"cf_hide " + at + " " + quote(path.Clean(m.Target))}, hide...)
	}
	if len(show) > 0 && !c.mounts {
		c.mounts = true
		show = append([]string{mountLibrary}, show...)
	}
	return show, hide, nil
}

// take makes a stage of what is copied from and gives the file that says where it is.
func (l *lowering) take(c *chain, from chain) string {
	name := l.name(from)
	file := otherRoot + "-" + name
	for _, f := range c.stage.Files {
		if f.From == name {
			return file
		}
	}
	c.stage.Files = append(c.stage.Files, Files{From: name, Pairs: [][2]string{{ownRoot, file}}})
	return file
}

// name gives the stage that a chain ends in, made once.
func (l *lowering) name(c chain) string {
	if name, ok := l.names[c.node.ID]; ok {
		return name
	}
	name := fmt.Sprintf("stage%d", len(l.stages)+1)
	l.names[c.node.ID] = name
	s := l.finish(c)
	s.Header = append(s.Header, Field{"Stage", name})
	if len(s.Setup) == 0 {
		s.Setup = []string{begin}
	}
	s.Setup = append(s.Setup, `printf %s "$R" >"$R`+ownRoot+`"`)
	l.stages = append(l.stages, s)
	return name
}

// onTop starts a stage with all that a chain has.
func (l *lowering) onTop(c chain) chain {
	next := chain{node: c.node, config: c.config, stage: Stage{Header: []Field{{"Bootstrap", "scratch"}}}}
	file := l.take(&next, c)
	next.copies = true
	l.onHost(&next, c.node, `cf_merge=`, `cf_copy '' '' "$(cat "$R`+file+`")" / /`, `rm -f "$R`+ownRoot+`"`)
	return next
}

// Private names the variable by which whoever runs Apptainer says that this is done in a
// mount namespace of its own; without it a definition with OwnTmp leaves the host alone.
const Private = "CFBUILD_PRIVATE"

// begin is the head of %setup. Nothing there may work on the host's root by mistake.
const begin = `set +x
umask 022
R=${APPTAINER_ROOTFS:?}
[ "$R" != / ]`

// ownTmp puts the image's directories where Apptainer takes the host's from.
const ownTmp = `# Steps have the image's own /tmp: where cfbuild runs Apptainer, the host's is not in sight.
for t in tmp var/tmp; do
	if [ "${` + Private + `:-}" = 1 ] && [ ! -L "$APPTAINER_ROOTFS/var" ] && [ ! -L "$APPTAINER_ROOTFS/$t" ] && [ -d "$APPTAINER_ROOTFS/$t" ]; then
		mount --bind "$APPTAINER_ROOTFS/$t" "/$t"
	fi
done`

// finish ends a stage: what was put there for building is gone.
func (l *lowering) finish(c chain) Stage {
	s := c.stage.clone()
	for _, f := range s.Files {
		for _, p := range f.Pairs {
			s.Setup = append(s.Setup, `rm -f "$R`+p[1]+`"`)
		}
	}
	if l.o.OwnTmp && len(s.Post) > 0 {
		s.Setup = append(s.Setup, ownTmp)
	}
	if len(s.Setup) > 0 {
		first := []string{begin, library}
		if c.copies {
			first = append(first, copyLibrary)
		}
		s.Setup = append(first, s.Setup...)
	}
	return s
}
