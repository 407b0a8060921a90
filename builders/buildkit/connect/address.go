// Package connect reads the address of a BuildKit daemon as users write it, and
// dials it: over a socket, over TCP with mutual TLS, through ssh, or through a
// container or pod that runs the daemon.
//
// Whatever goes wrong is an [AddressError] (the address makes no sense) or an
// [Error] (nobody answers there as expected), both with a hint. Nothing here reads
// the environment: what it says comes in through [Options].
package connect

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Kind is a way to reach a daemon.
type Kind string

const (
	// Default is no address: BUILDKIT_HOST, else the usual sockets of this machine.
	Default Kind = ""
	Unix    Kind = "unix"
	TCP     Kind = "tcp"
	SSH     Kind = "ssh"
	// DockerContainer, PodmanContainer and KubePod run `buildctl dial-stdio` next to
	// the daemon.
	DockerContainer Kind = "docker-container"
	PodmanContainer Kind = "podman-container"
	KubePod         Kind = "kube-pod"
	// Docker is a Docker daemon; package dind makes it usable, [Address.Dial] does not.
	Docker Kind = "docker"
)

// DefaultPort is what tcp://HOST means; BuildKit's documentation uses it throughout.
const DefaultPort = "1234"

// Address says where a daemon is. The zero Address is [Default].
type Address struct {
	Kind Kind
	// Path of the socket (Unix).
	Path string
	// Host is HOST:PORT (TCP).
	Host string
	// Query is what follows the question mark; for Docker it is not checked here.
	Query url.Values
	// TLS of a TCP address.
	TLS TLS

	text string   // as written, without a password
	url  *url.URL // for the helpers
}

// TLS names the files of a TCP address.
type TLS struct {
	// Off: nothing is encrypted, and anyone who reaches the port may build.
	Off bool
	// CA is a PEM file of authorities that sign the daemon's certificate; empty: the
	// system's.
	CA string
	// Cert and Key are the client's certificate and key, PEM files.
	Cert, Key string
	// ServerName is the name to expect in the daemon's certificate; empty: the host.
	ServerName string
}

// String is the address as it was written.
func (a Address) String() string { return a.text }

// keys that each kind of address takes after the question mark.
var keys = map[Kind][]string{
	Unix: nil, SSH: nil, PodmanContainer: nil,
	TCP:             {"ca", "cert", "certs", "key", "servername", "tls"},
	DockerContainer: {"context"},
	KubePod:         {"container", "context", "namespace"},
}

const forms = "unix:///SOCKET, tcp://HOST:PORT?certs=DIR, ssh://USER@HOST, docker-container://NAME, podman-container://NAME, kube-pod://NAME or docker"

// Parse reads an address. Its errors are of type [*AddressError].
func Parse(s string) (Address, error) {
	a := Address{text: redact(s)}
	if s == "" {
		return a, nil
	}
	head, query, _ := strings.Cut(s, "?")
	if head == string(Docker) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return a, a.bad("", "what follows the question mark cannot be read")
		}
		a.Kind, a.Query = Docker, q
		return a, nil
	}
	scheme, rest, ok := strings.Cut(head, "://")
	if !ok {
		return a, a.withoutScheme(head)
	}
	a.Kind = Kind(scheme)
	allowed, known := keys[a.Kind]
	if !known {
		return a, a.unknownScheme(scheme)
	}
	u, err := url.Parse(s)
	if err != nil { // its text repeats the address, password and all
		return a, a.bad("there are "+forms, "cannot be read as a URL")
	}
	if rest == "" {
		return a, a.bad("there are "+forms, "names nothing after ://")
	}
	if a.Query, err = url.ParseQuery(u.RawQuery); err != nil {
		return a, a.bad("", "what follows the question mark cannot be read")
	}
	if err := a.checkQuery(allowed); err != nil {
		return a, err
	}
	if u.Fragment != "" || strings.Contains(s, "#") {
		return a, a.bad("write # in a path as %23", "has a fragment")
	}
	a.url = u
	return a, a.fill(u)
}

func (a *Address) fill(u *url.URL) error {
	if u.User != nil && a.Kind != SSH {
		return a.bad("drop what is before the @", "names a user, which %s does not take", a.Kind)
	}
	switch a.Kind {
	case Unix:
		return a.fillUnix(u)
	case TCP:
		return a.fillTCP(u)
	case SSH:
		return a.checkSSH(u)
	}
	return a.checkName(u)
}

// maxSocket is what fits into sockaddr_un, unix(7).
const maxSocket = 107

func (a *Address) fillUnix(u *url.URL) error {
	if u.Host != "" || u.Path == "" {
		return a.bad("write three slashes: unix:///run/buildkit/buildkitd.sock", "is not an absolute path")
	}
	if len(u.Path) > maxSocket {
		return a.bad("use a shorter path, or a symbolic link to its directory", "the path has %d bytes, a socket's may have %d", len(u.Path), maxSocket)
	}
	a.Path = u.Path
	return nil
}

func (a *Address) fillTCP(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	if host == "" {
		return a.bad("tcp://HOST:PORT", "names no host")
	}
	if u.Path != "" && u.Path != "/" {
		return a.bad("tcp://HOST:PORT", "has a path, %s", u.Path)
	}
	if port == "" {
		port = DefaultPort
	}
	a.Host = net.JoinHostPort(host, port)
	return a.fillTLS(host)
}

func (a *Address) fillTLS(host string) error {
	q := a.Query
	t := TLS{CA: q.Get("ca"), Cert: q.Get("cert"), Key: q.Get("key"), ServerName: q.Get("servername")}
	if dir := q.Get("certs"); dir != "" {
		t = t.inDir(dir)
	}
	named := t != TLS{}
	switch mode := q.Get("tls"); {
	case mode != "" && mode != "on" && mode != "off":
		return a.bad("tls=on or tls=off", "tls=%s means nothing", mode)
	case mode == "off" && named:
		return a.bad("drop tls=off, or the certificates", "names certificates and tls=off")
	case (t.Cert == "") != (t.Key == ""):
		return a.bad("name both: ?cert=FILE&key=FILE, or a directory that has all: ?certs=DIR", "a certificate and its key belong together, one is missing")
	case mode == "" && !named && !loopback(host):
		return a.bad("name certificates: ?certs=DIR (ca.pem, cert.pem, key.pem; cfbuild workers certs makes them), or ?ca=FILE&cert=FILE&key=FILE; "+
			"on a network that only you can reach, ?tls=off", "plain TCP to another machine: whoever reaches that port owns the daemon")
	case mode != "on" && !named:
		t.Off = true
	}
	a.TLS = t
	return nil
}

// Exposed says that builds go unencrypted to another machine, as tls=off asks.
func (a Address) Exposed() bool {
	host, _, _ := net.SplitHostPort(a.Host)
	return a.Kind == TCP && a.TLS.Off && !loopback(host)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func (a *Address) checkSSH(u *url.URL) error {
	if _, has := u.User.Password(); has {
		return a.bad("use a key, and load it into ssh-agent", "has a password, which everyone on this machine could read")
	}
	if host := u.Hostname(); host == "" || strings.HasPrefix(host, "-") || strings.HasPrefix(u.User.Username(), "-") {
		return a.bad("ssh://USER@HOST[:PORT][/SOCKET]", "names no host or an impossible one")
	}
	return nil
}

// name as containers and pods have it; a leading dash would be an option.
var name = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// checkName is for addresses that are names, whose values become arguments.
func (a *Address) checkName(u *url.URL) error {
	if u.Path != "" && u.Path != "/" || u.Port() != "" {
		return a.bad(string(a.Kind)+"://NAME", "has more than a name")
	}
	if !name.MatchString(u.Hostname()) {
		return a.bad("", "%q is not a name", u.Hostname())
	}
	for k, v := range a.Query { // contexts may hold /, : and @
		if k != "context" && !name.MatchString(v[0]) || strings.HasPrefix(v[0], "-") {
			return a.bad("", "%s=%s is not a name", k, v[0])
		}
	}
	return nil
}

func (a *Address) checkQuery(allowed []string) error {
	for k, v := range a.Query {
		switch near := pipelines.Nearest(k, allowed, 1); {
		case contains(allowed, k) && len(v) == 1 && v[0] != "":
		case contains(allowed, k) && len(v) == 1:
			return a.bad("", "%s= is empty", k)
		case contains(allowed, k):
			return a.bad("", "%s is given %d times", k, len(v))
		case len(allowed) == 0:
			return a.bad("drop it", "%s takes no options, but has %q", a.Kind, k)
		case len(near) > 0:
			return a.bad("did you mean "+near[0]+"? there are: "+strings.Join(allowed, ", "), "option %q is unknown", k)
		default:
			return a.bad("there are: "+strings.Join(allowed, ", "), "option %q is unknown", k)
		}
	}
	return nil
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

func (a *Address) unknownScheme(scheme string) error {
	all := []string{"unix", "tcp", "ssh", "docker-container", "podman-container", "kube-pod", "docker"}
	fix := "there are " + forms
	if near := pipelines.Nearest(scheme, all, 1); len(near) > 0 {
		fix = "did you mean " + near[0] + "://? " + fix
	}
	return a.bad(fix, "scheme %q is unknown", scheme)
}

func (a *Address) withoutScheme(s string) error {
	fix := "there are " + forms
	if strings.HasPrefix(s, "/") {
		fix = "did you mean unix://" + s + "?"
	} else if _, _, err := net.SplitHostPort(s); err == nil {
		fix = "did you mean tcp://" + s + "?certs=DIR?"
	} else if near := pipelines.Nearest(s, []string{"docker"}, 1); len(near) > 0 {
		fix = "did you mean docker? " + fix
	}
	return a.bad(fix, "has no scheme")
}

func (a *Address) bad(fix, format string, args ...any) error {
	return &AddressError{Address: a.text, Cause: fmt.Sprintf(format, args...), Fix: fix}
}

var password = regexp.MustCompile(`//([^/?#@:]*):[^/?#]*@`)

// redact hides a password, also where the rest cannot be read as a URL.
func redact(s string) string { return password.ReplaceAllString(s, "//$1:xxxxx@") }
