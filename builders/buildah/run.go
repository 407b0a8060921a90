//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/assemble"
	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/pipelines"
	"golang.org/x/sys/unix"
)

// Ways to run a step.
const (
	isolationChroot = "chroot" // pivot into the root, nothing else needed
	isolationRunc   = "runc"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// longScript is what the kernel lets one argument be, with room to spare (bytes).
const longScript = 100 << 10

// run does a Run step in a mounted root.
func (x *executor) run(ctx context.Context, s state, index int, n pipelines.Node, o pipelines.Run, r root, shown []root) (err error) {
	sc, err := x.stageConfig(s, index, n, o, r)
	if err != nil {
		return err
	}
	emulated, err := x.emu.prepare(n, sc)
	if err != nil {
		return err
	}
	points, err := x.mountpoints(o, r, shown, sc)
	defer func() {
		if perr := points.remove(); err == nil {
			err = perr
		}
	}()
	if err != nil {
		return err
	}
	if cas := x.trusted(sc); len(cas) > 0 {
		giveBack, lerr := lend(r, cas)
		defer func() { err = errors.Join(err, giveBack()) }()
		if lerr != nil {
			return lerr
		}
	}
	limit := context.WithoutCancel(ctx)
	stepCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	if n.Timeout > 0 {
		limit, cancel = context.WithTimeout(ctx, time.Duration(n.Timeout))
		defer cancel()
		stepCtx = limit
	}
	log := &stepLog{x: x, node: n}
	res, err := runStage(stepCtx, sc, log)
	log.flush()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case n.Timeout > 0 && limit.Err() != nil:
		return &builders.StepError{Node: n, ExitCode: -1, Tail: log.tail, TimedOut: true,
			Err: fmt.Errorf("still running after %s", time.Duration(n.Timeout))}
	case err != nil:
		return &builders.StepError{Node: n, ExitCode: -1, Tail: log.tail, Err: err}
	case res.Error != "":
		return &builders.StepError{Node: n, ExitCode: -1, Tail: log.tail, Err: errors.New(res.Error)}
	case res.Exit != 0:
		e := &builders.StepError{Node: n, ExitCode: res.Exit, Tail: log.tail}
		e.Emulator = emulated && (res.Exit == 132 || res.Exit == 139 || log.crash)
		if x.diskFull() {
			e.Tail = append(e.Tail, "(the disk of "+x.st.dir+" is full)")
		}
		return e
	}
	return nil
}

// diskFull: less than 1 MiB is left where layers are made.
func (x *executor) diskFull() bool {
	var fs unix.Statfs_t
	return unix.Statfs(x.st.dir, &fs) == nil && fs.Bavail*uint64(fs.Bsize) < 1<<20
}

// stageConfig says how the step runs, but for its mounts.
func (x *executor) stageConfig(s state, index int, n pipelines.Node, o pipelines.Run, r root) (*stageConfig, error) {
	c, err := s.configAt(index)
	if err != nil {
		return nil, err
	}
	name := o.User
	if name == "" {
		name = c.Image.User
	}
	who, err := r.user(name)
	if err != nil {
		return nil, err
	}
	sc := &stageConfig{Rootfs: string(r), Bundle: filepath.Join(x.st.run, "bundle-"+newID()), Args: o.Args,
		UID: who.Uid, GID: who.Gid, Groups: who.Sgids, NoNetwork: o.Network == pipelines.NetworkNone,
		Cwd: path.Join("/", c.Image.WorkingDir), Single: x.st.single}
	if x.c.opt.Isolation == isolationRunc {
		if sc.Runc, err = exec.LookPath("runc"); err != nil {
			return nil, &builders.UnavailableError{Builder: Name, Reason: "isolation runc: runc is not installed",
				Fix: "as root: apt-get install runc (dnf install runc), or use isolation chroot, which needs nothing"}
		}
	}
	if o.Dir != "" {
		sc.Cwd = path.Clean(o.Dir)
	}
	if o.Shell != "" {
		sc.Args = []string{"/bin/sh", "-e", "-c", o.Shell}
		if len(o.Shell) > longScript {
			sc.Script = []byte(o.Shell)
			sc.Args = []string{"/bin/sh", "-e", "/dev/" + scriptName}
		}
	}
	env := assemble.MergeEnv([]string{"PATH=" + defaultPath, "HOME=" + who.Home}, nil)
	env = assemble.MergeEnv(env, map[string]string{"SOURCE_DATE_EPOCH": strconv.FormatInt(x.epoch.Unix(), 10)})
	if !sc.NoNetwork {
		env = assemble.MergeEnv(env, proxyEnv(x.r.Site.Proxy.HTTP, x.r.Site.Proxy.HTTPS, x.r.Site.Proxy.No))
	}
	if len(x.trusted(sc)) > 0 {
		env = assemble.MergeEnv(env, steptrust.Env())
	}
	for _, kv := range c.Image.Env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			env = assemble.MergeEnv(env, map[string]string{k: v})
		}
	}
	env = assemble.MergeEnv(env, o.Env)
	for _, sec := range o.Secrets {
		if v, ok := x.r.Secrets[sec.ID]; ok && sec.Env != "" {
			if bytes.IndexByte(v, 0) >= 0 {
				return nil, fmt.Errorf("secret %s holds a NUL byte and cannot be in a variable", sec.ID)
			}
			env = assemble.MergeEnv(env, map[string]string{sec.Env: string(v)})
		}
	}
	sc.Env = env
	return sc, nil
}

// proxyEnv gives the site's proxy to steps, in both spellings programs look for.
func proxyEnv(http, https, no string) map[string]string {
	env := map[string]string{}
	for k, v := range map[string]string{"http_proxy": http, "https_proxy": https, "no_proxy": no} {
		if v != "" {
			env[k] = v
			env[strings.ToUpper(k)] = v
		}
	}
	return env
}

// mountpoints makes the places in the image that the step's mounts need, and adds
// the mounts.
func (x *executor) mountpoints(o pipelines.Run, r root, shown []root, sc *stageConfig) (*points, error) {
	p := &points{r: r}
	for _, d := range []string{"/proc", "/sys", "/dev"} {
		if _, err := p.dir(d); err != nil {
			return p, err
		}
	}
	// A step's working directory is made if need be, and stays.
	if rel, err := r.resolve(sc.Cwd, true); err != nil {
		return p, err
	} else if _, err := r.mkdirs(rel, 0, 0); err != nil {
		return p, fmt.Errorf("working directory: %w", err)
	}
	resolv, hosts := []byte{}, []byte("127.0.0.1\tlocalhost\n::1\tlocalhost\n")
	if !sc.NoNetwork {
		// Neither file has to exist on this machine.
		resolv, _ = os.ReadFile("/etc/resolv.conf")
		if b, err := os.ReadFile("/etc/hosts"); err == nil {
			hosts = b
		}
	}
	for _, f := range []struct {
		target  string
		content []byte
	}{{"/etc/resolv.conf", resolv}, {"/etc/hosts", hosts}} {
		at, err := p.file(f.target)
		if err != nil {
			return p, err
		}
		sc.Mounts = append(sc.Mounts, stageMount{Target: at, Content: f.content, File: true, Mode: 0o644})
	}
	if cas := x.trusted(sc); len(cas) > 0 {
		if err := p.trustMounts(cas, sc); err != nil {
			return p, err
		}
	}
	for _, s := range o.Secrets {
		v, ok := x.r.Secrets[s.ID]
		if !ok || s.Env != "" {
			continue
		}
		target := s.Target
		if target == "" {
			target = "/run/secrets/" + s.ID
		}
		at, err := p.file(target)
		if err != nil {
			return p, fmt.Errorf("secret %s: %w", s.ID, err)
		}
		mode := stepfiles.UnixMode(s.Mode)
		if mode == 0 {
			mode = 0o400
		}
		sc.Mounts = append(sc.Mounts, stageMount{Target: at, Content: v, File: true, Mode: mode, UID: sc.UID, GID: sc.GID})
	}
	for i, m := range o.Mounts {
		sm, err := p.show(shown[i], m)
		if err != nil {
			return p, fmt.Errorf("mount %s on %s: %w", m.Src, m.Target, err)
		}
		sc.Mounts = append(sc.Mounts, sm)
	}
	for _, dir := range o.Roots {
		for _, sub := range []string{"dev", "proc"} {
			if _, err := p.dir(path.Join(dir, sub)); err != nil {
				return p, fmt.Errorf("root %s: %w", dir, err)
			}
		}
		at, err := r.resolve(dir, true)
		if err != nil {
			return p, fmt.Errorf("root %s: %w", dir, err)
		}
		sc.Roots = append(sc.Roots, at)
	}
	for _, c := range o.Caches {
		id := c.ID
		if id == "" {
			id = c.Target
		}
		src := filepath.Join(x.st.dir, "cache", keyOf("cache", id)[:32])
		if err := os.MkdirAll(src, 0o755); err != nil {
			return p, fmt.Errorf("cache %s: %w", id, err)
		}
		now := time.Now() // archtest: allow it only orders what prune removes
		_ = os.Chtimes(src, now, now)
		at, err := p.dir(c.Target)
		if err != nil {
			return p, fmt.Errorf("cache %s: %w", id, err)
		}
		sc.Mounts = append(sc.Mounts, stageMount{Target: at, Source: src})
	}
	return p, nil
}

// points remembers what was made for mounts alone.
type points struct {
	r    root
	made []string
}

func (p *points) dir(target string) (string, error) {
	rel, err := p.r.resolve(target, true)
	if err != nil {
		return "", err
	}
	made, err := p.r.mkdirs(rel, 0, 0)
	p.made = append(p.made, made...)
	return rel, err
}

// show mounts a path of another image.
func (p *points) show(from root, m pipelines.Mount) (stageMount, error) {
	src, err := from.resolve(m.Src, true)
	if err != nil {
		return stageMount{}, err
	}
	st, err := from.lstat(src)
	if err != nil {
		return stageMount{}, inImage(err, src)
	}
	at := p.file
	if isDir(st) {
		at = p.dir
	}
	target, err := at(m.Target)
	return stageMount{Target: target, Source: from.join(src), ReadOnly: true}, err
}

func (p *points) file(target string) (string, error) {
	rel, err := p.r.resolve(target, true)
	if err != nil {
		return "", err
	}
	if st, err := p.r.lstat(rel); err == nil {
		if isDir(st) {
			return "", fmt.Errorf("/%s: is a directory", rel)
		}
		return rel, nil
	}
	made, err := p.r.mkdirs(path.Dir(rel), 0, 0)
	p.made = append(p.made, made...)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(p.r.join(rel), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return "", inImage(err, rel)
	}
	p.made = append(p.made, rel)
	return rel, f.Close()
}

// remove takes away what was made, unless the step put something there.
func (p *points) remove() error {
	for i := len(p.made) - 1; i >= 0; i-- {
		st, err := p.r.lstat(p.made[i])
		if err != nil || (isReg(st) && st.Size > 0) || !(isReg(st) || isDir(st)) {
			continue
		}
		err = os.Remove(p.r.join(p.made[i]))
		if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return inImage(err, p.made[i])
		}
	}
	return nil
}

// runStage runs the stage to its end. Every process of the step has ended when it
// returns: the stage is the first of their PID namespace.
func runStage(ctx context.Context, sc *stageConfig, log io.Writer) (stageResult, error) {
	var res stageResult
	if err := os.Mkdir(sc.Bundle, 0o700); err != nil {
		return res, err
	}
	defer os.Remove(sc.Bundle)
	conf, err := json.Marshal(sc)
	if err != nil {
		return res, err
	}
	confR, confW, err := os.Pipe()
	if err != nil {
		return res, err
	}
	defer confR.Close()
	resR, resW, err := os.Pipe()
	if err != nil {
		confW.Close()
		return res, err
	}
	defer resR.Close()
	logR, logW, err := os.Pipe()
	if err != nil {
		confW.Close()
		resW.Close()
		return res, err
	}
	defer logR.Close()

	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{stageName}
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logW, logW
	cmd.ExtraFiles = []*os.File{confR, resW}
	flags := uintptr(unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS)
	if sc.NoNetwork {
		flags |= unix.CLONE_NEWNET
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if len(sc.Binfmt) > 0 {
		// Emulators are registered for one user namespace: here one that maps
		// every id to itself, so the machine's own registrations stay as they are.
		attr := cmd.SysProcAttr
		attr.Cloneflags |= unix.CLONE_NEWUSER
		if attr.UidMappings, err = identity("uid_map"); err != nil {
			return res, err
		}
		if attr.GidMappings, err = identity("gid_map"); err != nil {
			return res, err
		}
		attr.GidMappingsEnableSetgroups = !sc.Single
	}
	err = cmd.Start()
	logW.Close()
	resW.Close()
	if err != nil {
		confW.Close()
		return res, fmt.Errorf("namespaces of the step: %w", err)
	}
	go func() {
		_, _ = confW.Write(conf) // a stage that died says so by its end
		confW.Close()
	}()
	_, _ = io.Copy(log, logR)
	answer, _ := io.ReadAll(resR)
	err = cmd.Wait()
	if json.Unmarshal(answer, &res) != nil {
		if err == nil {
			err = errors.New("it ended without a result")
		}
		return res, fmt.Errorf("the step's first process: %w", err)
	}
	return res, nil
}

// identity maps each id of our user namespace to itself.
func identity(file string) ([]syscall.SysProcIDMap, error) {
	b, err := os.ReadFile("/proc/self/" + file)
	if err != nil {
		return nil, err
	}
	var out []syscall.SysProcIDMap
	for line := range strings.Lines(string(b)) {
		var m syscall.SysProcIDMap
		var outside int
		if _, err := fmt.Sscan(line, &m.ContainerID, &outside, &m.Size); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		m.HostID = m.ContainerID
		out = append(out, m)
	}
	return out, nil
}
