package dind

import (
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/site"
)

// Version is the BuildKit that containers run when its image is pulled, the one this module
// is compiled against.
const Version = "v0.33.1"

// DefaultImage is pulled where no static programs are found.
const DefaultImage = "docker.io/moby/buildkit:" + Version

// DefaultHost is the daemon where DOCKER_HOST is not set.
const DefaultHost = "unix:///var/run/docker.sock"

// ServiceHost is the daemon where DOCKER_HOST is not set, certificates are, and nothing is at
// [DefaultHost]: GitLab's service. The image docker:cli does the same.
const ServiceHost = "tcp://docker:2376"

// MinAPI is the oldest version of Docker's API that works: that of Docker 19.03.
const MinAPI = "1.40"

// Route says whose BuildKit is used.
type Route string

const (
	// Auto is the daemon's own where its images are in containerd's store, else ours.
	Auto Route = ""
	// Embedded is the daemon's own, or an error.
	Embedded Route = "embedded"
	// Container is ours, in a container.
	Container Route = "container"
)

// Keep says what is left in the daemon after [Daemon.Close].
type Keep string

const (
	// KeepRunning leaves the container running: the next client finds it warm.
	KeepRunning Keep = "running"
	// KeepState removes the container, and leaves image and volume.
	KeepState Keep = "state"
	// KeepNothing removes all three.
	KeepNothing Keep = "nothing"
)

// Environment is what the caller's environment says of Docker, as values.
type Environment struct {
	// Host, CertPath, TLSVerify and Context are DOCKER_HOST, DOCKER_CERT_PATH,
	// DOCKER_TLS_VERIFY and DOCKER_CONTEXT; TLSCertDir is DOCKER_TLS_CERTDIR, below which
	// GitLab's service has them.
	Host, CertPath, TLSVerify, Context, TLSCertDir string
	// Home holds .docker, where Docker's client keeps certificates when CertPath is empty.
	Home string
	// Path is PATH, ProgramDir the directory that this program is in: places of programs.
	Path, ProgramDir string
}

// Options of [Open]. [FromQuery] makes them of what a user writes.
type Options struct {
	// Host is the daemon, unix:///PATH or tcp://HOST:PORT; empty means [DefaultHost].
	Host string
	// CertDir holds ca.pem, cert.pem and key.pem. The daemon's certificate is always
	// verified, against ca.pem alone.
	CertDir string
	// InsecurePlain allows tcp:// without TLS: whoever reaches the port, or the way to it,
	// is root on the daemon's machine. Without it that is refused; with it there is a warning.
	InsecurePlain bool
	// Route is whose BuildKit to use; Keep is what to leave, by default [KeepRunning].
	Route Route
	Keep  Keep
	// Programs are directories that may hold static buildkitd, buildctl and runc (or
	// buildkit-runc), in order; the first that has all three counts. Named: the first of
	// them is a user's wish, and it is an error if it has not.
	Programs []string
	Named    bool
	// Image is pulled where Programs hold nothing; empty means [DefaultImage].
	Image string
	// StateVolume is the volume that keeps BuildKit's state; empty means
	// cfbuild-buildkitd-VERSION. One daemon at a time has it.
	StateVolume string
	// Site gives CAs, registries' mirrors and proxies to our container. The daemon's own
	// BuildKit has the daemon's settings.
	Site site.Site
	// Now is the clock that the client's certificate is judged by before the daemon is
	// asked, which need not say why it refuses one. Nil: only the daemon judges it.
	Now func() time.Time
	// Warn takes what a user should know, Log what is being done; both may be nil.
	Warn func(string)
	Log  io.Writer
}

// keys are what may follow "docker?" in an address.
var keys = []string{"binaries", "certs", "host", "image", "keep", "route", "tls", "volume"}

// FromQuery makes options of an address's query and the environment:
//
//	host=tcp://docker:2376   instead of DOCKER_HOST
//	certs=DIR                instead of DOCKER_CERT_PATH
//	tls=off                  plain TCP, which is refused otherwise
//	route=embedded|container whose BuildKit, default by what the daemon can do
//	keep=running|state|nothing
//	volume=NAME              for BuildKit's state
//	binaries=DIR             static buildkitd, buildctl and runc
//	image=REFERENCE          an image of BuildKit, for where there are no such programs
//
// Its errors are of type [*Error].
func FromQuery(q url.Values, e Environment) (Options, error) {
	bad := func(reason, fix string) (Options, error) {
		return Options{}, &Error{Problem: BadAddress, Reason: reason, Fix: fix}
	}
	for k, v := range q {
		if !slices.Contains(keys, k) {
			return bad("unknown option "+k, "there are "+strings.Join(keys, ", "))
		}
		if len(v) > 1 {
			return bad("option "+k+" is given twice", "")
		}
		if v[0] == "" {
			return bad("option "+k+" is empty", "")
		}
	}
	o := Options{Host: q.Get("host"), CertDir: q.Get("certs"), Route: Route(q.Get("route")), Keep: Keep(q.Get("keep")),
		Image: q.Get("image"), StateVolume: q.Get("volume")}
	if o.Host == "" {
		if e.Host == "" && e.Context != "" && e.Context != "default" {
			return bad("DOCKER_CONTEXT="+e.Context+": contexts of Docker's client are not read", "set DOCKER_HOST, or name the daemon: buildkit:docker?host=tcp://HOST:2376&certs=DIR")
		}
		o.Host = e.Host
	}
	switch q.Get("tls") {
	case "", "on":
	case "off":
		o.InsecurePlain = true
		if o.CertDir != "" {
			return bad("certs and tls=off contradict each other", "leave one out")
		}
	default:
		return bad("tls="+q.Get("tls")+" means nothing", "tls=off, or nothing: TLS is always verified")
	}
	if !slices.Contains([]Route{Auto, Embedded, Container}, o.Route) {
		return bad("route="+string(o.Route)+" means nothing", "route=embedded or route=container")
	}
	if o.Keep == "" {
		o.Keep = KeepRunning
	}
	if !slices.Contains([]Keep{KeepRunning, KeepState, KeepNothing}, o.Keep) {
		return bad("keep="+string(o.Keep)+" means nothing", "keep=running, keep=state or keep=nothing")
	}
	if o.StateVolume != "" && !validName(o.StateVolume) {
		return bad("volume="+o.StateVolume+" is no name of a volume", "letters, digits, and _ . - after the first")
	}
	if o.CertDir == "" && !o.InsecurePlain {
		o.CertDir = e.CertPath
		if client := filepath.Join(e.TLSCertDir, "client"); o.CertDir == "" && e.TLSCertDir != "" && fileExists(filepath.Join(client, "ca.pem")) {
			o.CertDir = client
		}
		if o.CertDir == "" && e.TLSVerify != "" && e.Home != "" {
			o.CertDir = filepath.Join(e.Home, ".docker")
		}
	}
	if o.Host == "" && o.CertDir != "" && !fileExists(strings.TrimPrefix(DefaultHost, "unix://")) {
		o.Host = ServiceHost
	}
	if dir := q.Get("binaries"); dir != "" {
		o.Programs, o.Named = []string{dir}, true
	} else if o.Image == "" { // a user who names an image means it
		if e.ProgramDir != "" {
			o.Programs = append(o.Programs, e.ProgramDir)
		}
		for _, dir := range filepath.SplitList(e.Path) {
			if filepath.IsAbs(dir) {
				o.Programs = append(o.Programs, dir)
			}
		}
	}
	return o, nil
}

func validName(s string) bool {
	for i, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && strings.ContainsRune("_.-", c):
		default:
			return false
		}
	}
	return len(s) > 1
}

func (o *Options) warn(msg string) {
	if o.Warn != nil {
		o.Warn(msg)
	}
}

func (o *Options) log(msg string) {
	if o.Log != nil {
		_, _ = io.WriteString(o.Log, msg+"\n")
	}
}

// fileExists is for files whose lack is told apart from other errors later.
func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
