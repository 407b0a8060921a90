package dind

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/buildkitdtest"
	"github.com/cfbuild/cfbuild/internal/certtest"
	"github.com/cfbuild/cfbuild/internal/dockerdtest"
	"github.com/cfbuild/cfbuild/internal/testneed"
)

// refused wants an error of that kind, with words in its text and a hint.
func refused(t *testing.T, err error, p Problem, words ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Problem != p {
		t.Errorf("want %q, got %v", p, err)
		return
	}
	t.Logf("%v\n    hint: %s", err, e.Hint())
	if e.Hint() == "" || !errors.Is(err, builders.ErrUnavailable) {
		t.Errorf("hint %q, unavailable: %v", e.Hint(), errors.Is(err, builders.ErrUnavailable))
	}
	for _, w := range words {
		if !strings.Contains(err.Error()+e.Hint(), w) {
			t.Errorf("no %q in: %v; %s", w, err, e.Hint())
		}
	}
}

func ask(t *testing.T, o Options) error {
	t.Helper()
	d, err := Open(t.Context(), o)
	if err == nil {
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	return err
}

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	certtest.New(t).Write(t, dir, certtest.Leaf{Client: true})
	nobody := "tcp://127.0.0.1:" + strconv.Itoa(certtest.FreePort(t))
	refused(t, ask(t, Options{Host: nobody, CertDir: dir}), NoDaemon, "refused", "docker:dind")
	refused(t, ask(t, Options{Host: "tcp://docker.invalid", CertDir: dir}), NoDaemon, "docker.invalid:2376", "services:")
	refused(t, ask(t, Options{Host: "unix://" + dir + "/docker.sock"}), NoDaemon, "systemctl start docker")
	refused(t, ask(t, Options{Host: nobody}), PlainRefused, "DOCKER_CERT_PATH", "tls=off")
	refused(t, ask(t, Options{Host: nobody, CertDir: filepath.Join(dir, "none")}), Certificates, "ca.pem", "no such file")
	refused(t, ask(t, Options{Host: "ssh://user@host"}), BadAddress, "buildkit:ssh://")
	refused(t, ask(t, Options{Host: "npipe:////./pipe/docker"}), BadAddress, "npipe")
	refused(t, ask(t, Options{Host: "unix://docker.sock"}), BadAddress, "three slashes")
	refused(t, ask(t, Options{Host: "tcp://user:hidden@host:1"}), BadAddress)
	if err := ask(t, Options{Host: "tcp://user:hidden@host:1"}); strings.Contains(err.Error(), "hidden") {
		t.Errorf("a password is shown: %v", err)
	}
	other := t.TempDir()
	certtest.New(t).Write(t, other, certtest.Leaf{Client: true})
	if err := os.Rename(filepath.Join(other, "key.pem"), filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	refused(t, ask(t, Options{Host: nobody, CertDir: dir}), Certificates, "private key does not match")
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, ask(t, Options{Host: nobody, CertDir: dir}), Certificates, "holds no certificate")
}

// A socket that only root may open, asked by somebody else.
func TestPermission(t *testing.T) {
	testneed.Root(t)
	user := testneed.User(t)
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Of this thread alone, which ends with the goroutine.
		runtime.LockOSThread()
		if err := syscall.Setfsuid(user.UID); err != nil {
			t.Error(err)
		}
		refused(t, ask(t, Options{Host: "unix://" + path}), Permission, "group docker", "buildah")
	}()
	<-done
}

func TestNotAUsableDaemon(t *testing.T) {
	headers := http.Header{}
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range headers {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
	}))
	defer srv.Close()
	o := Options{Host: "tcp://" + srv.Listener.Addr().String(), InsecurePlain: true}
	headers.Set("Api-Version", "1.39")
	refused(t, ask(t, o), TooOld, "1.39", "19.03")
	headers.Set("Api-Version", "1.45")
	headers.Set("Ostype", "windows")
	refused(t, ask(t, o), TooOld, "windows")
	headers = http.Header{}
	refused(t, ask(t, o), NoDaemon, "not a Docker daemon")
	status = http.StatusNotFound
	refused(t, ask(t, o), NoDaemon, "404")
}

func TestCertificates(t *testing.T) {
	dockerd := dockerdtest.Start(t, dockerdtest.Options{})
	good := filepath.Join(dockerd.Certs, "client")
	with := func(l certtest.Leaf, a *certtest.Authority) Options {
		dir := t.TempDir()
		a.Write(t, dir, l)
		// The daemon's authority stays the one to verify by.
		if err := os.WriteFile(filepath.Join(dir, "ca.pem"), dockerd.CA.PEM, 0o644); err != nil {
			t.Fatal(err)
		}
		return Options{Host: dockerd.Host, CertDir: dir, Now: time.Now}
	}
	now := time.Now()
	expired := certtest.Leaf{Client: true, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour)}
	refused(t, ask(t, with(expired, dockerd.CA)), ClientExpired, expired.NotAfter.UTC().Format("2006-01-02 15:04"))
	refused(t, ask(t, with(certtest.Leaf{Client: true}, certtest.New(t))), ClientRefused, "tlscacert")
	bare := t.TempDir()
	if err := os.WriteFile(filepath.Join(bare, "ca.pem"), dockerd.CA.PEM, 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, ask(t, Options{Host: dockerd.Host, CertDir: bare}), ClientRefused)
	strange := t.TempDir()
	certtest.New(t).Write(t, strange, certtest.Leaf{Client: true})
	refused(t, ask(t, Options{Host: dockerd.Host, CertDir: strange}), ServerCertificate, "not signed by ca.pem")
	refused(t, ask(t, Options{Host: "tcp://127.0.0.2:" + dockerd.Port(), CertDir: good}), NoDaemon)
	refused(t, ask(t, Options{Host: dockerd.Host, InsecurePlain: true}), WantsTLS, "DOCKER_CERT_PATH")

	old := dockerdtest.Start(t, dockerdtest.Options{Server: certtest.Leaf{Hosts: []string{"127.0.0.1"}, NotBefore: expired.NotBefore, NotAfter: expired.NotAfter}})
	refused(t, ask(t, Options{Host: old.Host, CertDir: filepath.Join(old.Certs, "client")}), ServerExpired, expired.NotAfter.UTC().Format("2006-01-02 15:04"))
	named := dockerdtest.Start(t, dockerdtest.Options{Server: certtest.Leaf{Hosts: []string{"another"}}})
	refused(t, ask(t, Options{Host: named.Host, CertDir: filepath.Join(named.Certs, "client")}), ServerCertificate, "another name", "DOCKER_TLS_SAN")
}

// As "Gitlab 101" has it: port 2375, DOCKER_TLS_VERIFY="".
func TestPlainTCP(t *testing.T) {
	dockerd := dockerdtest.Start(t, dockerdtest.Options{NoTLS: true})
	env := Environment{Host: dockerd.Host + "/"}
	o, err := FromQuery(nil, env)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, ask(t, o), PlainRefused)
	o, err = FromQuery(url.Values{"tls": {"off"}, "binaries": {buildkitdtest.Programs(t)}, "keep": {"nothing"}}, env)
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	o.Warn = func(s string) { warned = append(warned, s) }
	if err := ask(t, o); err != nil {
		t.Error(err)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "tls=off") {
		t.Errorf("warned: %q", warned)
	}
	dir := t.TempDir()
	certtest.New(t).Write(t, dir, certtest.Leaf{Client: true})
	refused(t, ask(t, Options{Host: dockerd.Host, CertDir: dir}), NotTLS, "2376")
}

func TestNoPrivilege(t *testing.T) {
	// Its root lacks a capability, and so cannot give it to a privileged container.
	dockerd := dockerdtest.Start(t, dockerdtest.Options{AsItIs: true, Wrap: []string{"setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource", "--"}})
	o := options(t, dockerd)
	refused(t, ask(t, o), NoPrivilege, "privileged = true", "buildah")
	if got := docker(t, dockerd, "ps", "-aq"); got != "" {
		t.Errorf("containers are left: %s", got)
	}
}

func TestFullVolume(t *testing.T) {
	dockerd := dockerdtest.Start(t, dockerdtest.Options{})
	o := options(t, dockerd)
	o.StateVolume = "small"
	docker(t, dockerd, "volume", "create", "--driver=local", "--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=size=64k", o.StateVolume)
	refused(t, ask(t, o), NoSpace, "volume small", "volume rm")

	o.StateVolume = "less"
	docker(t, dockerd, "volume", "create", "--driver=local", "--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=size=16m", o.StateVolume)
	d := open(t, o)
	_, _, err := step(t.Context(), t, d, "/bin/busybox true", make([]byte, 64<<20))
	refused(t, d.Explain(t.Context(), err), NoSpace, "volume less")
}

func TestFromQuery(t *testing.T) {
	job := Environment{Host: "tcp://docker:2376", CertPath: "/certs/client", TLSVerify: "1", Path: "/usr/bin::relative:/bin", ProgramDir: "/opt/cfbuild"}
	o, err := FromQuery(nil, job)
	if err != nil || o.Host != job.Host || o.CertDir != "/certs/client" || o.Keep != KeepRunning || o.InsecurePlain || strings.Join(o.Programs, " ") != "/opt/cfbuild /usr/bin /bin" {
		t.Errorf("%v: %+v", err, o)
	}
	if o, err := FromQuery(nil, Environment{Host: "tcp://docker", TLSVerify: "1", Home: "/home/me"}); err != nil || o.CertDir != "/home/me/.docker" {
		t.Errorf("%v: %+v", err, o)
	}
	// With GitLab's service, without DOCKER_HOST.
	if !fileExists("/var/run/docker.sock") {
		certs := t.TempDir()
		certtest.New(t).Write(t, filepath.Join(certs, "client"), certtest.Leaf{Client: true})
		o, err := FromQuery(nil, Environment{TLSCertDir: certs})
		if err != nil || o.Host != "tcp://docker:2376" || o.CertDir != filepath.Join(certs, "client") {
			t.Errorf("%v: %+v", err, o)
		}
		if o, err := FromQuery(nil, Environment{}); err != nil || o.Host != "" || o.CertDir != "" {
			t.Errorf("%v: %+v", err, o)
		}
	}
	if o, err := FromQuery(url.Values{"image": {"registry.example/buildkit:v0.33.1"}}, job); err != nil || len(o.Programs) != 0 {
		t.Errorf("%v: %+v", err, o)
	}
	for query, words := range map[string]string{
		"tsl=off": "there are binaries", "tls=no": "always verified", "route=own": "container", "keep=all": "keep=state",
		"volume=a/b": "no name", "keep=": "empty", "keep=state&keep=nothing": "twice", "tls=off&certs=/c": "contradict",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = FromQuery(q, job)
		var e *Error
		if !errors.As(err, &e) || e.Problem != BadAddress || !strings.Contains(e.Error()+e.Hint(), words) {
			t.Errorf("%s: %v", query, err)
		}
	}
	_, err = FromQuery(nil, Environment{Context: "remote"})
	refused(t, err, BadAddress, "DOCKER_CONTEXT=remote", "DOCKER_HOST")
	if _, err := FromQuery(nil, Environment{Context: "default"}); err != nil {
		t.Error(err)
	}
}

func TestPrograms(t *testing.T) {
	real := buildkitdtest.Programs(t)
	p, err := in(real, runtimeArch())
	if err != nil || p.version != Version || len(p.files) != 3 || p.files[2].name != "buildkit-runc" {
		t.Errorf("%v: %+v", err, p)
	}
	if _, err := in(real, "s390x"); err == nil || !strings.Contains(err.Error(), "the daemon's machine is s390x") {
		t.Errorf("got %v", err)
	}
	dir := t.TempDir()
	named := Options{Programs: []string{dir, real}, Named: true}
	_, err = find(&named, runtimeArch())
	refused(t, err, NoPrograms, "buildkitd", "no such file")
	// Unnamed, the next directory counts.
	if p, err := find(&Options{Programs: named.Programs}, runtimeArch()); err != nil || p == nil || filepath.Dir(p.files[0].path) != real {
		t.Errorf("%v: %+v", err, p)
	}
	if p, err := find(&Options{Programs: []string{dir}}, runtimeArch()); err != nil || p != nil {
		t.Errorf("%v: %+v", err, p)
	}
	for _, f := range []string{"buildkitd", "buildctl"} {
		if err := os.Symlink(filepath.Join(real, f), filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/bin/sh", filepath.Join(dir, "runc")); err != nil {
		t.Fatal(err)
	}
	_, err = find(&named, runtimeArch())
	refused(t, err, NoPrograms, "runc is not static")
}

func runtimeArch() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
}
