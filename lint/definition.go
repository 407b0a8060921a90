package lint

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// sure are the rules on definitions whose findings stand whatever the image shows:
// what a step does is not to be seen in it.
var sure = []string{SecretInHistory, SignaturesOff, EnvInFile, PackagesUndone}

// Definition looks at the definition of a target for one platform, before anything
// is built. now is the day that ends of life are judged by.
func Definition(job pipelines.Job, t pipelines.Target, s site.Site, now time.Time) []Finding {
	d := &definition{collector: newCollector(job.Target, job.Platform), g: job.Graph, target: t, site: s, now: now, installed: map[string]pipelines.Node{}}
	d.chain = chain(job.Graph)
	d.base()
	for _, n := range job.Graph.Nodes {
		switch op := n.Op.(type) {
		case pipelines.Pull:
			d.pull(n, op)
		case pipelines.Bootstrap:
			d.bootstrap(n, op)
		case pipelines.Run:
			d.run(n, op)
		}
	}
	cfg := config{target: true}
	for _, n := range d.chain {
		switch op := n.Op.(type) {
		case pipelines.File:
			d.file(n, op)
		case pipelines.Copy:
			d.bound(n, op.Dst)
		case pipelines.Configure:
			cfg.apply(n, op)
		}
	}
	cfg.result = d.g.Result()
	cfg.rules(d.collector)
	for i := range d.out {
		looks := d.rules[d.out[i].Rule].Looks
		d.out[i].doubtful = looks&InImage != 0 && !slices.Contains(sure, d.out[i].Rule)
	}
	return d.out
}

// definition is the state of one look.
type definition struct {
	*collector
	g         pipelines.Graph
	chain     []pipelines.Node // from the base to the result
	target    pipelines.Target
	site      site.Site
	now       time.Time
	installed map[string]pipelines.Node
	frontend  bool // the image's own environment has DEBIAN_FRONTEND by now
}

// chain follows first inputs: what the result is made of.
func chain(g pipelines.Graph) []pipelines.Node {
	if len(g.Nodes) == 0 {
		return nil
	}
	var out []pipelines.Node
	for n := g.Result(); ; {
		out = append(out, n)
		if len(n.Inputs) == 0 {
			break
		}
		n, _ = g.Node(n.Inputs[0])
	}
	slices.Reverse(out)
	return out
}

// at adds a finding with the author's line.
func (d *definition) at(rule string, n pipelines.Node, subject, format string, args ...any) {
	d.add(rule, Finding{Subject: subject, Step: n.Name, Where: n.Where, Message: fmt.Sprintf(format, args...)})
}

// base are the rules on what the image starts from.
func (d *definition) base() {
	base := d.chain[0]
	if ended := d.target.Ended(d.now); ended {
		d.at(EndOfLifeSaid, base, "release", "support ended on %s, which the target declares", d.target.EndOfLife)
	} else if name, end := suiteEnd(base.Op); end != "" && over(end, d.now) {
		d.at(EndOfLife, base, "release", "support of %s ended on %s, and the target does not declare it", name, end)
	}
	switch base.Op.(type) {
	case pipelines.Pull, pipelines.Layout:
	default:
		return
	}
	for _, n := range d.chain {
		r, ok := n.Op.(pipelines.Run)
		if !ok {
			continue
		}
		used := false
		for _, c := range script(r) {
			m, ok := manages(c)
			if !ok || m.manager == "pip" || m.manager == "conda" || m.manager == "npm" {
				continue
			}
			if m.action == actUpgrade {
				return
			}
			used = used || m.action == actInstall
		}
		if used {
			d.at(NoUpgrade, n, "upgrade", "the first step that installs packages does not upgrade the base image's own")
			return
		}
	}
	d.at(NoUpgrade, base, "upgrade", "no step upgrades the packages of the base image")
}

// pull are the rules on a reference that is pulled.
func (d *definition) pull(n pipelines.Node, op pipelines.Pull) {
	r := parseRef(op.Ref)
	if !r.inSite(d.site) {
		d.at(BaseOutsideSite, n, op.Ref, "%s is neither in the site's registries nor pulled through its caches", op.Ref)
	}
	switch {
	case r.digest != "":
	case r.tag == "" || r.tag == "latest":
		d.at(BaseFloating, n, op.Ref, "%s means whatever is latest on the day of the build", op.Ref)
	default:
		d.at(BaseNotPinned, n, op.Ref, "%s is not named by its digest", op.Ref)
	}
}

func (d *definition) bootstrap(n pipelines.Node, op pipelines.Bootstrap) {
	if n.ID != d.chain[0].ID {
		return
	}
	for _, p := range op.Include {
		d.installs(n, p)
	}
}

// installs is a package that gets into the image by name.
func (d *definition) installs(n pipelines.Node, name string) {
	name, _, _ = strings.Cut(name, ":")
	if tool := toolOfPackage(name); tool != "" {
		d.at(NeedlessTool, n, tool, "installs %s: %s", name, whyNeedless(tool))
	}
}

// script gives the commands of a step.
func script(r pipelines.Run) []command {
	if r.Shell != "" {
		return commands(r.Shell)
	}
	if len(r.Args) == 3 && strings.HasPrefix(r.Args[1], "-") && strings.HasSuffix(r.Args[1], "c") && isShell(r.Args[0]) {
		return commands(r.Args[2])
	}
	return []command{{words: r.Args}}
}

// file are the rules on a file that the definition writes.
func (d *definition) file(n pipelines.Node, op pipelines.File) {
	d.bound(n, op.Path)
	if mode := op.Mode; mode&0o002 != 0 && op.Link == "" && !(op.Dir && mode&0o1000 != 0) {
		d.at(WorldWritable, n, op.Path, "%s gets mode %04o: everyone may write to it", op.Path, mode)
	}
	d.owner(n, op.Path, op.Owner)
	if len(op.Data) == 0 {
		return
	}
	if startUpFile(op.Path) && op.Path != "/etc/environment" && exportRE.Match(op.Data) {
		d.at(EnvInFile, n, op.Path, "variables are written into %s", op.Path)
	}
	for _, f := range contentFindings(op.Path, op.Data) {
		f.Step, f.Where = n.Name, n.Where
		d.add(f.Rule, f)
	}
}

func (d *definition) owner(n pipelines.Node, p, owner string) {
	uid, _, _ := strings.Cut(owner, ":")
	if len(uid) >= 4 && strings.Trim(uid, "0123456789") == "" && systemPath(p) {
		d.at(UserOwned, n, p, "%s gets the owner %s: a user's account", p, uid)
	}
}

// bound is a path that the definition writes to.
func (d *definition) bound(n pipelines.Node, p string) {
	if dir := boundDir(p); dir != "" {
		d.at(BoundDirectory, n, boundTop(p), "%s is hidden wherever %s is bound over", p, dir)
	}
}
