//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/pipelines"
	"go.podman.io/buildah"
	"go.podman.io/storage/pkg/unshare"
	"golang.org/x/sys/unix"
)

// Names by which a copy of this program knows what it is.
const (
	childName = "cfbuild-buildah"
	stageName = "cfbuild-buildah-step"
	// usernsSuffix is what package unshare appends when it starts a program
	// again in a user namespace.
	usernsSuffix = "-in-a-user-namespace"
)

// Child does the work and does not return when this process is one of the
// backend's children; otherwise it returns at once, false. Main calls it before
// anything else:
//
//	func main() {
//		if buildah.Child() {
//			return
//		}
func Child() bool {
	if buildah.InitReexec() {
		return true
	}
	switch strings.TrimSuffix(os.Args[0], usernsSuffix) {
	case childName:
		os.Exit(childMain())
	case stageName:
		os.Exit(stageMain())
	}
	return false
}

// child is the process that serves one request.
type child struct {
	mu      sync.Mutex
	out     *json.Encoder
	opt     childOptions
	secrets [][]byte // values to blank in whatever leaves the process
}

func childMain() int {
	syscall.Umask(0o022)
	unshare.MaybeReexecUsingUserNamespace(false)

	// How this machine's podman stores images is nothing to us.
	err := os.Setenv("CONTAINERS_STORAGE_CONF", "/dev/null") // archtest: allow this process is the backend's own
	for _, name := range []string{"CONTAINERS_STORAGE_CONF_OVERRIDE", "STORAGE_DRIVER", "STORAGE_OPTS"} {
		err = errors.Join(err, os.Unsetenv(name))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "environment:", err)
		return 1
	}
	// From here on only we write to the answer's pipe: what libraries print
	// goes to standard error.
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 10)
	if err == nil {
		err = unix.Dup3(2, 1, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "standard output:", err)
		return 1
	}
	c := &child{out: json.NewEncoder(os.NewFile(uintptr(fd), "answer"))}

	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		fmt.Fprintln(os.Stderr, "request:", err)
		return 1
	}
	var req request
	if err := json.Unmarshal(line, &req); err != nil {
		fmt.Fprintln(os.Stderr, "request:", err)
		return 1
	}
	// The end of standard input means that the caller gave up or died.
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("cancelled"))
	}()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fmt.Fprintln(os.Stderr, "mount namespace:", err)
		return 1
	}
	c.send(answer{Ready: true})
	c.opt = req.Options
	a, err := c.serve(ctx, req)
	if err != nil {
		c.send(answer{Err: toWire(err)})
		return 1
	}
	c.send(a)
	return 0
}

func (c *child) serve(ctx context.Context, req request) (answer, error) {
	switch req.Op {
	case opProbe:
		caps, err := c.probe(ctx)
		return answer{Probe: &caps}, err
	case opBuild:
		res, err := c.build(ctx, req.Build)
		return answer{Result: &res}, err
	case opSize:
		u, err := size(c.opt.StateDir)
		return answer{Usage: &u}, err
	case opPrune:
		u, err := c.prune(ctx, req.Unused, req.Max)
		return answer{Usage: &u}, err
	}
	return answer{}, fmt.Errorf("unknown request %q", req.Op)
}

// send writes one answer. A caller that is gone has closed standard input too,
// which ends us: an error here needs no other handling.
func (c *child) send(a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.out.Encode(a)
}

func (c *child) event(n pipelines.Node, kind pipelines.EventKind, text string) {
	e := pipelines.Event{Kind: kind, Step: n.ID, Name: n.Name, Where: n.Where.String(), Text: text}
	if kind == pipelines.EventLog {
		e.Name, e.Where = "", ""
	}
	c.send(answer{Event: &e})
}

func (c *child) note(kind pipelines.EventKind, format string, args ...any) {
	c.send(answer{Event: &pipelines.Event{Kind: kind, Text: fmt.Sprintf(format, args...)}})
}

func (c *child) build(ctx context.Context, r *buildRequest) (builders.Result, error) {
	if r == nil {
		return builders.Result{}, errors.New("the request holds no build")
	}
	for _, v := range r.Secrets {
		c.secrets = append(c.secrets, stepfiles.SecretLines(v)...)
	}
	for _, l := range r.Logins {
		c.secrets = append(c.secrets, stepfiles.SecretLines([]byte(l.Password))...)
	}
	st, err := openStore(ctx, c.opt)
	if err != nil {
		return builders.Result{}, err
	}
	defer st.close()
	for _, s := range st.notes {
		c.note(pipelines.EventNote, "%s", s)
	}
	x := newExecutor(c, st, r)
	defer x.close()
	if err := x.openCaches(); err != nil {
		return builders.Result{}, err
	}
	return x.build(ctx)
}
