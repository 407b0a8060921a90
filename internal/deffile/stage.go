package deffile

import (
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// gathered is what one Copy takes from a stage: a tree that the stage makes ready in
// /.cfbuild-NAME.tar, with owners, modes and links, which %files alone would lose.
type gathered struct {
	name string
	op   pipelines.Copy
}

func (c gathered) tar() string { return "/.cfbuild-" + c.name + ".tar" }

// stage writes the chain that ends in a node.
func (l *lowering) stage(name string, end pipelines.Node) (Stage, error) {
	s := Stage{Name: name, Environment: map[string]string{}, Labels: map[string]string{}}
	chain := l.chain(end)
	if err := l.source(&s, chain[0]); err != nil {
		return s, err
	}
	user, dir := "", ""
	_, scratch := chain[0].Op.(pipelines.Scratch)
	for _, n := range chain[1:] {
		setup, post := s.Setup.b.Len(), s.Post.b.Len()
		if scratch {
			if err := bare(&s, n); err != nil {
				return s, err
			}
		}
		switch o := n.Op.(type) {
		case pipelines.File:
			if !scratch {
				s.Post.comment(n)
				s.Post.file("", o)
			}
		case pipelines.Remove:
			s.Post.comment(n)
			s.Post.remove(o)
		case pipelines.Run:
			if err := l.run(&s, n, o, user, dir); err != nil {
				return s, err
			}
		case pipelines.Copy:
			if err := l.copy(&s, n, o); err != nil {
				return s, err
			}
		case pipelines.Configure:
			if o.User != "" {
				user = o.User
			}
			if o.WorkingDir != "" {
				dir = o.WorkingDir
			}
			s.configure(o, !scratch)
		}
		if at := special.FindString(s.Setup.b.String()[setup:] + s.Post.b.String()[post:]); at != "" {
			return s, unsupported(n, "change the name", "cannot have %q in a name", at)
		}
	}
	for _, c := range l.copies[end.ID] {
		s.Post.gather(c, "", "/.cfbuild-"+c.name)
		s.Post.line("tar -C /.cfbuild-%s -cf %s .", c.name, c.tar())
		s.Post.line("rm -rf /.cfbuild-%s", c.name)
	}
	return s, nil
}

// bare does a step in an image that has no shell: from the host, where only files of
// their own can be made without following links out of the image.
func bare(s *Stage, n pipelines.Node) error {
	switch o := n.Op.(type) {
	case pipelines.Configure:
		return nil
	case pipelines.File:
		if o.Link == "" {
			s.Setup.comment(n)
			s.Setup.file(`"${APPTAINER_ROOTFS:?}"`, o)
			return nil
		}
	}
	return unsupported(n, "start from an image with a shell, or use another builder", "can only make files and directories in an empty image")
}

func (s *Stage) configure(o pipelines.Configure, shell bool) {
	maps.Copy(s.Environment, o.Env)
	maps.Copy(s.Labels, o.Labels)
	if o.Author != "" {
		s.Labels["Author"] = strings.ReplaceAll(o.Author, "\n", " ")
	}
	if len(o.Entrypoint) > 0 {
		s.Entrypoint = o.Entrypoint
	}
	if len(o.Cmd) > 0 {
		s.Cmd = o.Cmd
	}
	if shell {
		// Later steps see it too.
		for _, k := range sorted(o.Env) {
			s.Post.assign(k, o.Env[k])
		}
	}
}

func (l *lowering) run(s *Stage, n pipelines.Node, o pipelines.Run, user, dir string) error {
	for _, lack := range []struct {
		has  bool
		what string
	}{
		{len(o.Secrets) > 0, "has no build secrets"}, {len(o.Caches) > 0, "has no cache mounts"},
		{len(o.Mounts) > 0, "cannot show files of another image to a step"}, {len(o.Roots) > 0, "cannot give a root below the image's own devices and processes"},
	} {
		if lack.has {
			return unsupported(n, "use another builder; cfbuild run --format sif makes a SIF of any image", "%s", lack.what)
		}
	}
	if o.User == "" {
		o.User = user
	}
	if o.Dir == "" {
		o.Dir = dir
	}
	switch o.User {
	case "root", "0", "0:0", "root:root":
		o.User = ""
	}
	if _, err := strconv.Atoi(o.User); err == nil || strings.Contains(o.User, ":") {
		return unsupported(n, "name a user that /etc/passwd of the image has", "cannot run a step as %s", o.User)
	}
	s.Post.comment(n)
	s.Post.run(o)
	return nil
}

// copy takes the tree that the other stage, or the host, has made ready.
func (l *lowering) copy(s *Stage, n pipelines.Node, o pipelines.Copy) error {
	from, _ := l.g.Node(n.Inputs[1])
	l.count++
	c := gathered{strconv.Itoa(l.count), o}
	if local, ok := from.Op.(pipelines.Local); ok {
		if len(local.Include)+len(local.Exclude) > 0 || local.Path == "" {
			return unsupported(n, "use another builder", "cannot choose files of a directory by patterns")
		}
		if c.op.Owner == "" {
			c.op.Owner = "0:0"
		}
		tree := `"${APPTAINER_ROOTFS:?}"/.cfbuild-` + c.name
		s.Setup.comment(n)
		s.Setup.gather(c, quote(strings.TrimSuffix(local.Path, "/")), tree)
		s.Setup.line(`tar -C %s -cf "${APPTAINER_ROOTFS:?}"%s .`, tree, c.tar())
		s.Setup.line("rm -rf %s", tree)
	} else {
		if from.Platform != l.g.Platform {
			return unsupported(n, "use another builder", "has one platform; this copies from %s", from.Platform)
		}
		if _, ok := from.Op.(pipelines.Scratch); ok {
			return unsupported(n, "use another builder", "cannot copy from an empty image")
		}
		l.copies[from.ID] = append(l.copies[from.ID], c)
		s.Files = append(s.Files, Copied{l.name(from.ID), c.tar()})
	}
	tree := "/.cfbuild-" + c.name
	s.Post.comment(n)
	s.Post.line("mkdir %s", tree)
	s.Post.line("tar -C %s -xpf %s", tree, c.tar())
	s.Post.line("rm %s", c.tar())
	into := path.Clean(c.into())
	if into != "/" {
		s.Post.line("(umask 022; mkdir -p %s)", quote(into))
	}
	s.Post.line(`for f in %s/* %[1]s/.[!.]* %[1]s/..?*; do`, tree)
	s.Post.line(`	if [ -e "$f" ] || [ -L "$f" ]; then cp -a "$f" %s; fi`, quote(strings.TrimSuffix(into, "/")+"/"))
	s.Post.line("done")
	s.Post.line("rm -rf %s", tree)
	return nil
}

// isDir says whether Dst is a directory whatever is copied.
func (c gathered) isDir() bool {
	return strings.HasSuffix(c.op.Dst, "/") || len(c.op.Src) > 1 || strings.ContainsAny(c.op.Src[0], "*?[")
}

// into is the directory that the tree's entries go to.
func (c gathered) into() string {
	if c.isDir() {
		return c.op.Dst
	}
	return path.Dir(c.op.Dst)
}

// gather makes the tree of a Copy from files below root.
func (s *script) gather(c gathered, root, tree string) {
	s.line("mkdir %s", tree)
	var src []string
	for _, p := range c.op.Src {
		src = append(src, root+pattern(path.Join("/", p)))
	}
	name := ""
	if !c.isDir() {
		name = path.Base(c.op.Dst)
	}
	to := tree + "/"
	if name != "" {
		to += quote(name)
	}
	s.line("for f in %s; do", strings.Join(src, " "))
	s.line(`	if [ -d "$f" ] && [ ! -L "$f" ]; then`)
	s.line("		mkdir -p %s", to)
	s.line(`		cp -a "$f/." %s`, to)
	s.line("	else")
	s.line(`		cp -a "$f" %s`, to)
	s.line("	fi")
	s.line("done")
	if c.op.Owner != "" {
		s.line("chown -hR %s %s", c.op.Owner, tree)
	}
	if c.op.Mode != 0 {
		s.line("find %s -type f -exec chmod %04o {} +", tree, c.op.Mode.Perm())
	}
}

// source writes the header.
func (l *lowering) source(s *Stage, n pipelines.Node) error {
	header := func(pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			s.Header = append(s.Header, Pair{pairs[i], pairs[i+1]})
		}
	}
	if n.Platform != l.g.Platform {
		return unsupported(n, "use another builder", "has one platform; this starts from %s", n.Platform)
	}
	switch o := n.Op.(type) {
	case pipelines.Scratch:
		header("Bootstrap", "scratch")
	case pipelines.Pull:
		header("Bootstrap", "docker", "From", o.Ref)
	case pipelines.Layout:
		switch at, ok := l.o.Archives[n.ID]; {
		case ok:
			header("Bootstrap", "oci-archive", "From", at)
		case strings.HasSuffix(o.Path, ".sif"):
			header("Bootstrap", "localimage", "From", o.Path)
		case strings.HasSuffix(o.Path, ".tar"):
			header("Bootstrap", "oci-archive", "From", o.Path)
		default:
			header("Bootstrap", "oci", "From", o.Path)
		}
	case pipelines.Bootstrap:
		return l.bootstrap(s, n, o)
	default:
		return unsupported(n, "use another builder", "cannot start from %s", fmt.Sprintf("%T", o))
	}
	return nil
}
