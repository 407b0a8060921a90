//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/buildkit/client/llb"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// longScript is what the kernel lets one argument be, with room to spare (bytes).
const longScript = 100 << 10

// scriptPath is where a script that is longer lies while its step runs.
const scriptPath = "/dev/cfbuild-script"

func (l *lowering) Run(ctx context.Context, n pipelines.Node, base state, mounts []state, o pipelines.Run) (state, error) {
	if err := usable(n, base); err != nil {
		return state{}, err
	}
	if err := l.secretsGiven(n, o); err != nil {
		return state{}, err
	}
	if len(o.Roots) > 0 {
		return state{}, &builders.UnsupportedError{Builder: Name, Node: n, What: "cannot give a root below the image's own devices and processes",
			Fix: "use another builder, or drop Roots from the step"}
	}
	below, err := l.sealed(base)
	if err != nil {
		return state{}, err
	}
	c, err := base.config()
	if err != nil {
		return state{}, failed(n, err)
	}
	s := &runStep{l: l, n: n, o: o, below: below, user: o.User, dir: path.Join("/", c.Image.WorkingDir)}
	if s.user == "" {
		s.user = c.Image.User
	}
	if o.Dir != "" {
		s.dir = path.Clean(o.Dir)
	}
	for _, f := range []func(context.Context, *assemble.Config) error{s.command, s.environment, s.secrets, s.trust} {
		if err := f(ctx, c); err != nil {
			return state{}, failed(n, err)
		}
	}
	for i, m := range o.Mounts {
		if mounts[i].src.local != nil {
			return state{}, &builders.UnsupportedError{Builder: Name, Node: n, What: "a Local directory is not an image to mount",
				Fix: "copy it into an image from Scratch first"}
		}
		st, err := l.sealed(mounts[i])
		if err != nil {
			return state{}, err
		}
		s.add(llb.AddMount(m.Target, st, llb.SourcePath(m.Src), llb.Readonly))
	}
	for _, m := range o.Caches {
		id := m.ID
		if id == "" {
			id = m.Target
		}
		s.add(llb.AddMount(m.Target, llb.Scratch(), llb.AsPersistentCacheDir("cfbuild/"+id, llb.CacheMountShared)))
	}
	for _, c := range l.step(n.ID, n.Name, n.Platform) {
		s.add(c)
	}
	l.note(n.ID, &vertex{nodes: []pipelines.Node{n}})
	base.base, base.open = below.Run(s.opts...).Root(), row{}
	return base.then(n), nil
}

// secretsGiven: a secret that must be there is.
func (l *lowering) secretsGiven(n pipelines.Node, o pipelines.Run) error {
	for _, s := range o.Secrets {
		v, ok := l.r.Secrets[s.ID]
		if !ok && !s.Optional {
			return failed(n, &hinted{fmt.Errorf("secret %s was not given", s.ID), "give it with --secret id=" + s.ID + ",…"})
		}
		if s.Env != "" && bytes.IndexByte(v, 0) >= 0 {
			return failed(n, fmt.Errorf("secret %s holds a NUL byte and cannot be in a variable", s.ID))
		}
	}
	return nil
}

// runStep lowers one Run.
type runStep struct {
	l     *lowering
	n     pipelines.Node
	o     pipelines.Run
	below llb.State
	user  string
	dir   string
	opts  []llb.RunOption
}

func (s *runStep) add(o llb.RunOption) { s.opts = append(s.opts, o) }

// command says what is run, by whom and where.
func (s *runStep) command(ctx context.Context, c *assemble.Config) error {
	args := s.o.Args
	if s.o.Shell == "" {
		search := defaultPath
		for _, kv := range assemble.MergeEnv(c.Image.Env, s.o.Env) {
			if v, ok := strings.CutPrefix(kv, "PATH="); ok {
				search = v
			}
		}
		var err error
		if args, err = s.under(ctx, args, search); err != nil {
			return err
		}
	} else {
		args = []string{"/bin/sh", "-e", "-c", s.o.Shell}
		if len(s.o.Shell) > longScript {
			args = []string{"/bin/sh", "-e", scriptPath}
			root := newDir(0o755, 0, 0)
			root.add("script", &item{kind: tar.TypeReg, mode: 0o644, data: []byte(s.o.Shell)})
			d, err := pack(s.l.packs, s.n.Platform, s.l.epoch, root)
			if err != nil {
				return err
			}
			st := s.l.layout(d.Digest, s.n.Platform, "pack", "files of this definition")
			s.add(llb.AddMount(scriptPath, st, llb.SourcePath("/script"), llb.Readonly))
		}
		with := plainShell
		if s.networked() {
			with = trustedShell
		}
		args = append([]string{"/bin/sh", "-c", with, "sh"}, args[1:]...)
	}
	s.add(llb.Args(args))
	s.add(llb.Dir(s.dir))
	if s.user != "" {
		s.add(llb.User(s.user))
	}
	if !s.networked() {
		s.add(llb.Network(llb.NetModeNone))
		return nil
	}
	if s.l.hostNetwork {
		s.add(llb.Network(llb.NetModeHost))
	}
	if p := s.proxy(c); p != (llb.ProxyEnv{}) {
		s.add(llb.WithProxy(p))
	}
	return nil
}

// proxy is the site's, which is no part of what the step is. The daemon sets it over
// everything, so what the image or the step sets is left out.
func (s *runStep) proxy(c *assemble.Config) llb.ProxyEnv {
	own := map[string]bool{}
	for _, kv := range assemble.MergeEnv(c.Image.Env, s.o.Env) {
		k, _, _ := strings.Cut(kv, "=")
		own[strings.ToLower(k)] = true
	}
	unless := func(name, v string) string {
		if own[name] {
			return ""
		}
		return v
	}
	p := s.l.r.Site.Proxy
	return llb.ProxyEnv{HTTPProxy: unless("http_proxy", p.HTTP), HTTPSProxy: unless("https_proxy", p.HTTPS), NoProxy: unless("no_proxy", p.No)}
}

func (s *runStep) networked() bool { return s.o.Network != pipelines.NetworkNone }

// environment: the image's variables count before ours, the step's before both. HOME
// is left to the daemon, which reads the image's passwd.
func (s *runStep) environment(_ context.Context, c *assemble.Config) error {
	env := assemble.MergeEnv([]string{"PATH=" + defaultPath}, map[string]string{"SOURCE_DATE_EPOCH": strconv.FormatInt(s.l.epoch.Unix(), 10)})
	for _, kv := range c.Image.Env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env = assemble.MergeEnv(env, map[string]string{k: v})
		}
	}
	for _, kv := range assemble.MergeEnv(env, s.o.Env) {
		k, v, _ := strings.Cut(kv, "=")
		s.add(llb.AddEnv(k, v))
	}
	return nil
}

// secrets are served by the session, by their IDs: the definition has no value.
func (s *runStep) secrets(ctx context.Context, _ *assemble.Config) error {
	for _, sec := range s.o.Secrets {
		opts := []llb.SecretOption{llb.SecretID(sec.ID)}
		if sec.Optional {
			opts = append(opts, llb.SecretOptional)
		}
		if sec.Env != "" {
			s.add(llb.AddSecret(sec.Env, append(opts, llb.SecretAsEnv(true))...))
			continue
		}
		uid, gid, err := s.ids(ctx)
		if err != nil {
			return fmt.Errorf("secret %s: %w", sec.ID, err)
		}
		target, mode := sec.Target, unixMode(sec.Mode)
		if target == "" {
			target = "/run/secrets/" + sec.ID
		}
		if mode == 0 {
			mode = 0o400
		}
		s.add(llb.AddSecret(target, append(opts, llb.SecretFileOpt(uid, gid, int(mode)))...))
	}
	return nil
}

// trust lends the step the site's authorities. The definition is the same with them
// and without, so that they are no part of what a step is: it asks for optional
// secrets, which the session has or has not.
func (s *runStep) trust(ctx context.Context, c *assemble.Config) error {
	if !s.networked() {
		return nil
	}
	id := func(name string) string { return "cfbuild/" + strings.TrimPrefix(s.n.ID, "sha256:")[:24] + "/" + name }
	lent := map[string][]byte{}
	if cas := s.l.r.Site.BuildCAs(); len(cas) > 0 {
		var err error
		if lent, err = s.lend(ctx, cas); err != nil {
			return err
		}
	}
	files := trustFiles
	if s.o.Shell != "" {
		files = append(slices.Clone(files), lendScript)
	} else {
		// No shell sets the variables: they come one by one, where nobody set them.
		set := map[string]bool{}
		for _, kv := range c.Image.Env {
			k, _, _ := strings.Cut(kv, "=")
			set[k] = true
		}
		vars := steptrust.Env()
		for _, k := range slices.Sorted(maps.Keys(vars)) {
			if _, own := s.o.Env[k]; own || set[k] {
				continue
			}
			s.add(llb.AddSecret(k, llb.SecretID(id(k)), llb.SecretAsEnv(true), llb.SecretOptional))
			if len(lent) > 0 {
				s.l.give(id(k), []byte(vars[k]))
			}
		}
	}
	for _, f := range files {
		s.add(llb.AddSecret(f, llb.SecretID(id(path.Base(f))), llb.SecretFileOpt(0, 0, 0o444), llb.SecretOptional))
		if b, ok := lent[f]; ok {
			s.l.give(id(path.Base(f)), b)
		}
	}
	return nil
}

var errNobodyLooks = errors.New("the step's user is known by name only")
