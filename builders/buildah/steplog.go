//go:build linux && cgo && containers_image_openpgp && exclude_graphdriver_btrfs

package buildah

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/moby/sys/user"
)

// tailLines is how much of a failed step's log its error shows.
const tailLines = 20

// longLine is where a line is cut (bytes).
const longLine = 8 << 10

// stepLog turns a step's output into events, a line each, and keeps the end.
type stepLog struct {
	x     *executor
	node  pipelines.Node
	buf   []byte
	tail  []string
	crash bool // the emulator said that it crashed
}

func (l *stepLog) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		l.buf = append(l.buf, p[:i]...)
		l.line()
		p = p[i+1:]
	}
	l.buf = append(l.buf, p...)
	if len(l.buf) > longLine {
		l.line()
	}
	return n, nil
}

func (l *stepLog) flush() {
	if len(l.buf) > 0 {
		l.line()
	}
}

// line sends what is gathered. Of a line that was written over (a progress bar)
// the last state counts.
func (l *stepLog) line() {
	b := bytes.TrimRight(l.buf, "\r")
	if i := bytes.LastIndexByte(b, '\r'); i >= 0 {
		b = b[i+1:]
	}
	b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	for _, s := range l.x.c.secrets {
		b = bytes.ReplaceAll(b, s, []byte("***"))
	}
	l.buf = l.buf[:0]
	if bytes.Contains(b, []byte("uncaught target signal")) {
		l.crash = true
	}
	text := string(b)
	l.tail = append(l.tail, text)
	if len(l.tail) > tailLines {
		l.tail = l.tail[1:]
	}
	l.x.c.event(l.node, pipelines.EventLog, text)
}

// user finds a user in the image: a name or number, with a group or without.
func (r root) user(spec string) (*user.ExecUser, error) {
	passwd, err := r.open("/etc/passwd")
	if err != nil {
		return nil, err
	}
	defer passwd.Close()
	group, err := r.open("/etc/group")
	if err != nil {
		return nil, err
	}
	defer group.Close()
	u, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, passwd, group)
	if err != nil {
		return nil, fmt.Errorf("user %q: %w", spec, err)
	}
	for file, id := range map[string]int{"uid_map": u.Uid, "gid_map": u.Gid} {
		if !mapped(file, id) {
			return nil, &hinted{fmt.Errorf("user %q: %d:%d is not among the ids that are ours here", spec, u.Uid, u.Gid), singleIDFix()}
		}
	}
	if u.Uid == 0 && u.Home == "/" {
		u.Home = "/root"
	}
	return u, nil
}

// open opens a file of the image; one that is missing is empty.
func (r root) open(p string) (io.ReadCloser, error) {
	rel, err := r.resolve(p, true)
	if err != nil {
		return nil, err
	}
	st, err := r.lstat(rel)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !isReg(st)) {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	if err != nil {
		return nil, inImage(err, rel)
	}
	f, err := os.Open(r.join(rel))
	if err != nil {
		return nil, inImage(err, rel)
	}
	return f, nil
}

// mapped: an id exists in our user namespace.
func mapped(file string, id int) bool {
	ranges, err := identity(file)
	if err != nil {
		return true // then the kernel will say
	}
	for _, r := range ranges {
		if id >= r.ContainerID && id < r.ContainerID+r.Size {
			return true
		}
	}
	return false
}
