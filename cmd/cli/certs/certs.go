// Package certs keeps the certificates of a few machines that trust each other in one
// directory: authority/, servers/NAME/ and clients/NAME/, the latter two with ca.pem,
// cert.pem and key.pem.
//
// Directories appear whole or not at all, keys are readable by their owner alone, and
// what is there is replaced only if asked; the authority never is.
package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/internal/filelock"
	"github.com/cfbuild/cfbuild/internal/mtls"
	"golang.org/x/sys/unix"
)

// AuthorityLife is how long a new authority is good.
const AuthorityLife = 10 * 365 * 24 * time.Hour

// Request says what to make.
type Request struct {
	Dir string
	// Hosts: one server for each, with all its names and addresses, the first of which
	// names its directory.
	Hosts   [][]string
	Clients []string
	// Now is the clock; Good is how long certificates are.
	Now  time.Time
	Good time.Duration
	// Force replaces certificates that are there.
	Force bool
}

// Made is one directory that was made.
type Made struct {
	Kind, Name, Dir string // Kind is "authority", "server" or "client"
	Hosts           []string
	Until           time.Time
	// Kept: an authority that was there already.
	Kept bool
}

// ExistsError: a directory is there already.
type ExistsError struct{ Dir string }

func (e *ExistsError) Error() string { return e.Dir + ": is there already" }

// Hint is what to do about it.
func (e *ExistsError) Hint() string {
	return "--force replaces it; daemons and clients that use it need the new files then"
}

// hinted adds what to do to an error.
type hinted struct {
	error
	fix string
}

func (h *hinted) Unwrap() error { return h.error }
func (h *hinted) Hint() string  { return h.fix }

var clientName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._@-]*$`)

// Check finds what is wrong with a request before anything is written.
func (r Request) Check() error {
	seen := map[string]bool{}
	for _, hosts := range r.Hosts {
		for _, h := range hosts {
			if err := mtls.CheckHost(h); err != nil {
				return err
			}
		}
		if dir := r.server(hosts); seen[dir] {
			return fmt.Errorf("host %s: is given twice", hosts[0])
		} else {
			seen[dir] = true
		}
	}
	for _, c := range r.Clients {
		if !clientName.MatchString(c) {
			return fmt.Errorf("client %q: use letters, digits, dots, dashes and @", c)
		}
		if dir := r.client(c); seen[dir] {
			return fmt.Errorf("client %s: is given twice", c)
		} else {
			seen[dir] = true
		}
	}
	return nil
}

func (r Request) authority() string { return filepath.Join(r.Dir, "authority") }
func (r Request) server(hosts []string) string {
	return filepath.Join(r.Dir, "servers", strings.ReplaceAll(strings.ReplaceAll(hosts[0], "*", "any"), ":", "-"))
}
func (r Request) client(name string) string { return filepath.Join(r.Dir, "clients", name) }

// Make makes what the request says.
func Make(ctx context.Context, r Request) ([]Made, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := filelock.Lock(ctx, filepath.Join(r.Dir, ".lock"), nil)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if !r.Force {
		if err := r.free(); err != nil {
			return nil, err
		}
	}
	left, err := filepath.Glob(filepath.Join(r.Dir, ".new-*")) // of a run that was killed
	if err != nil {
		return nil, err
	}
	for _, l := range left {
		if err := os.RemoveAll(l); err != nil {
			return nil, err
		}
	}
	a, made, err := r.openAuthority()
	if err != nil {
		return nil, err
	}
	out := []Made{made}
	for _, hosts := range r.Hosts {
		pair, err := a.Server(hosts, r.Now, r.Good)
		if err != nil {
			return out, late(err)
		}
		m := Made{Kind: "server", Name: hosts[0], Dir: r.server(hosts), Hosts: hosts, Until: r.Now.Add(r.Good)}
		if err := r.place(m.Dir, files(a, pair)); err != nil {
			return out, err
		}
		out = append(out, m)
	}
	for _, c := range r.Clients {
		pair, err := a.Client(c, r.Now, r.Good)
		if err != nil {
			return out, late(err)
		}
		m := Made{Kind: "client", Name: c, Dir: r.client(c), Until: r.Now.Add(r.Good)}
		if err := r.place(m.Dir, files(a, pair)); err != nil {
			return out, err
		}
		out = append(out, m)
	}
	return out, nil
}

// free wants all directories to be free before the first is made.
func (r Request) free() error {
	var dirs []string
	for _, h := range r.Hosts {
		dirs = append(dirs, r.server(h))
	}
	for _, c := range r.Clients {
		dirs = append(dirs, r.client(c))
	}
	for _, d := range dirs {
		if _, err := os.Lstat(d); err == nil {
			return &ExistsError{d}
		}
	}
	return nil
}

func late(err error) error {
	var l *mtls.LateError
	if errors.As(err, &l) {
		return &hinted{err, "give fewer --days, or begin again with a new authority in another directory"}
	}
	return err
}

// openAuthority reads the authority, or makes one.
func (r Request) openAuthority() (mtls.Authority, Made, error) {
	made := Made{Kind: "authority", Dir: r.authority()}
	cert, err := os.ReadFile(filepath.Join(made.Dir, "ca.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		a, err := mtls.New("cfbuild workers", r.Now, max(AuthorityLife, r.Good))
		if err != nil {
			return a, made, err
		}
		made.Until = a.Cert.NotAfter
		p, err := a.PEM()
		if err != nil {
			return a, made, err
		}
		return a, made, r.place(made.Dir, map[string][]byte{"ca.pem": p.Cert, "ca-key.pem": p.Key})
	}
	if err != nil {
		return mtls.Authority{}, made, err
	}
	key, err := os.ReadFile(filepath.Join(made.Dir, "ca-key.pem"))
	if err != nil {
		return mtls.Authority{}, made, &hinted{err, "its key is needed to make certificates: put it back, or begin again in another directory"}
	}
	a, err := mtls.Load(mtls.Pair{Cert: cert, Key: key})
	if err != nil {
		return a, made, fmt.Errorf("%s: %w", made.Dir, err)
	}
	made.Kept, made.Until = true, a.Cert.NotAfter
	return a, made, nil
}

func files(a mtls.Authority, p mtls.Pair) map[string][]byte {
	return map[string][]byte{"ca.pem": a.CertPEM(), "cert.pem": p.Cert, "key.pem": p.Key}
}

// place makes a directory with files, or puts the new one in the place of the old.
func (r Request) place(dir string, files map[string][]byte) error {
	tmp, err := os.MkdirTemp(r.Dir, ".new-") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for name, data := range files {
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(name, "key.pem") {
			mode = 0o600
		}
		if err := atomicfile.Write(filepath.Join(tmp, name), data, mode); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(dir); err == nil { // the old one goes with tmp
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
		if err != nil {
			return &os.LinkError{Op: "exchange", Old: tmp, New: dir, Err: err}
		}
	} else if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(dir))
}
