package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// tree makes a machine's files below a new root.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.Contains(name, "/bin/") {
			mode = 0o755
		}
		if err := os.WriteFile(p, []byte(data), mode); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func newMachine(t *testing.T, files map[string]string) *machine {
	return &machine{Input{Root: tree(t, files), Getenv: func(string) string { return "" }, Now: time.Now, UID: 1000, User: "jo",
		StateDir: t.TempDir(), Timeout: 10 * time.Second}}
}

// find gives the check with a name.
func find(t *testing.T, cs []Check, name string) Check {
	t.Helper()
	for _, c := range cs {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q in %+v", name, cs)
	return Check{}
}

func TestSysctlsThatForbidNamespaces(t *testing.T) {
	for _, c := range []struct{ file, name, value, fix string }{
		{"proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"},
		{"proc/sys/user/max_user_namespaces", "user.max_user_namespaces", "0", "user.max_user_namespaces=28633"},
		{"proc/sys/kernel/apparmor_restrict_unprivileged_userns", "kernel.apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		m := newMachine(t, map[string]string{c.file: c.value + "\n"})
		got := find(t, m.sysctls(), c.name)
		if got.Status != Failed || !strings.Contains(got.Fix[0], c.fix) || strings.HasPrefix(got.Fix[0], "on the host") {
			t.Errorf("%+v", got)
		}
		m = newMachine(t, map[string]string{c.file: c.value, ".dockerenv": ""})
		if got := find(t, m.sysctls(), c.name); !strings.HasPrefix(got.Fix[0], "on the host: ") {
			t.Errorf("in a container: %+v", got)
		}
		good := map[string]string{"0": "1", "1": "0"}[c.value]
		if got := newMachine(t, map[string]string{c.file: good}).sysctls(); len(got) != 0 {
			t.Errorf("%s=%s: %+v", c.name, good, got)
		}
	}
}

func TestSubordinateIDs(t *testing.T) {
	ctx := context.Background()
	ids := map[string]string{"etc/subuid": "root:1:65536\njo:100000:65536\n", "etc/subgid": "1000:100000:70000\n"}
	m := newMachine(t, ids)
	cs := m.subordinate(ctx)
	if c := find(t, cs, "subordinate ids"); c.Status != OK || !strings.Contains(c.Text, "65536 user and 70000 group") {
		t.Errorf("%+v", c)
	}
	m = newMachine(t, map[string]string{"etc/subuid": "jo:100000:1000\n", "run/.containerenv": ""})
	c := find(t, m.subordinate(ctx), "subordinate ids")
	if c.Status != Failed || !strings.Contains(c.Fix[0], "usermod --add-subuids") || len(c.Fix) != 2 {
		t.Errorf("%+v", c)
	}
	if !privileged("/bin/su") && !privileged("/usr/bin/su") {
		t.Error("su is not seen as set-uid")
	}
	if privileged("/bin/true") || privileged("/nowhere") {
		t.Error("true is seen as set-uid")
	}
}

func TestEmulation(t *testing.T) {
	entry := func(flags string) string { return "enabled\ninterpreter /usr/bin/q\nflags: " + flags + "\noffset 0\n" }
	m := newMachine(t, map[string]string{
		"proc/sys/fs/binfmt_misc/qemu-s390x":   entry("OCF"),
		"proc/sys/fs/binfmt_misc/qemu-ppc64le": entry("OC"),
		"proc/sys/fs/binfmt_misc/qemu-riscv64": "disabled\n",
		"usr/bin/qemu-riscv64-static":          "",
		"proc/sys/kernel/osrelease":            "6.1.0-30-amd64\n",
	})
	cs := m.emulation(context.Background())
	if c := find(t, cs, "linux/s390x"); c.Status != OK || !strings.Contains(c.Text, "/usr/bin/q") {
		t.Errorf("%+v", c)
	}
	if c := find(t, cs, "linux/ppc64le"); c.Status != Warning || !strings.Contains(c.Text, "without flag F") {
		t.Errorf("%+v", c)
	}
	if c := find(t, cs, "linux/riscv64"); c.Status != Warning || !strings.Contains(c.Text, "kernel 6.7") {
		t.Errorf("%+v", c)
	}
	if c := find(t, cs, "qemu"); c.Fix[0] != "sudo apt-get install qemu-user-static" {
		t.Errorf("%+v", c)
	}
	m.UID = 0
	if c := find(t, m.emulation(context.Background()), "linux/riscv64"); c.Status != OK {
		t.Errorf("as root: %+v", c)
	}
	for release, want := range map[string]bool{"6.7.0": true, "6.18.2-x": true, "7.0": true, "6.6.99": false, "5.10": false, "odd": false, "6.7-rc1": true} {
		if got := newMachine(t, map[string]string{"proc/sys/kernel/osrelease": release}).kernel(6, 7); got != want {
			t.Errorf("kernel %s: %v", release, got)
		}
	}
}

func TestDisk(t *testing.T) {
	m := newMachine(t, nil)
	m.StateDir = filepath.Join(m.StateDir, "not", "there", "yet")
	cs := m.disk(context.Background())
	if len(cs) != 1 || cs[0].Name != m.StateDir || !strings.Contains(cs[0].Text, "free") {
		t.Errorf("%+v", cs)
	}
}

func TestBuilders(t *testing.T) {
	backend := func(name string, caps builders.Capabilities, err error) builders.Backend {
		return builders.Backend{Name: name, Open: func(context.Context, builders.Options) (builders.Builder, error) {
			return probe{caps: caps, err: err}, nil
		}}
	}
	in := newMachine(t, nil).Input
	in.Backends = []builders.Backend{
		{Name: "left", Stub: "no cgo"},
		backend("broken", builders.Capabilities{}, &builders.UnavailableError{Reason: "boom", Fix: "mend it"}),
		backend("slow", builders.Capabilities{}, context.DeadlineExceeded),
		backend("absent", builders.Capabilities{Reason: "no daemon", Fix: "start it"}, nil),
	}
	r := Run(t.Context(), in)
	for name, want := range map[string]string{"left": "left out of this program: no cgo", "broken": "builder : boom", "slow": "did not answer within 10s", "absent": "no daemon"} {
		if c := find(t, r.Checks, name); c.Status != Failed || c.Text != want {
			t.Errorf("%+v", c)
		}
	}
	if c := find(t, r.Checks, "broken"); len(c.Fix) != 1 || c.Fix[0] != "mend it" {
		t.Errorf("%+v", c)
	}
	if len(r.Working) != 0 {
		t.Errorf("working: %v", r.Working)
	}
	arm := pipelines.Platform{OS: "linux", Architecture: "arm64"}
	in.Backends = append(in.Backends, backend("good", builders.Capabilities{Available: true, Platforms: []pipelines.Platform{arm}, Emulated: []pipelines.Platform{arm},
		Detail: []string{"storage: vfs"}}, nil))
	r = Run(t.Context(), in)
	if c := find(t, r.Checks, "good"); c.Status != OK || c.Text != "available\nstorage: vfs\nplatforms: linux/arm64 (emulated)" {
		t.Errorf("%+v", c)
	}
	for _, c := range r.Checks {
		if c.Status == Failed && c.Area == areaKernel {
			t.Errorf("a builder works, yet %+v", c)
		}
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil || !strings.Contains(b.String(), "\nBuilders that work here: good\n") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

type probe struct {
	builders.Builder
	caps builders.Capabilities
	err  error
}

func (p probe) Capabilities(context.Context) (builders.Capabilities, error) { return p.caps, p.err }

// authority makes a CA and a server certificate for 127.0.0.1 under it.
func authority(t *testing.T, name string) (site.Certificate, tls.Certificate) {
	t.Helper()
	make1 := func(tmpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = tmpl, key
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, key
	}
	base := func(cn string, serial int64) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: cn}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	}
	root := base(name, 1)
	root.IsCA, root.KeyUsage = true, x509.KeyUsageCertSign
	ca, caKey := make1(root, nil, nil)
	leaf := base("localhost", 2)
	leaf.DNSNames, leaf.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, key := make1(leaf, ca, caKey)
	return site.Certificate{Name: name, PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})},
		tls.Certificate{Certificate: [][]byte{cert.Raw, ca.Raw}, PrivateKey: key}
}

// server is a mirror and a registry behind TLS.
func server(t *testing.T, cert *tls.Certificate, date time.Time) (port string) {
	t.Helper()
	mux := http.NewServeMux()
	stamp := func(w http.ResponseWriter) { w.Header().Set("Date", date.UTC().Format(http.TimeFormat)) }
	mux.HandleFunc("HEAD /debian/dists/bookworm/InRelease", func(w http.ResponseWriter, r *http.Request) { stamp(w) })
	mux.HandleFunc("GET /v2/", func(w http.ResponseWriter, r *http.Request) { stamp(w); w.WriteHeader(http.StatusUnauthorized) })
	s := httptest.NewUnstartedServer(mux)
	if cert == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	_, port, _ = strings.Cut(s.Listener.Addr().String(), ":")
	return port
}

func bookworm() pipelines.Pipeline {
	return pipelines.Pipeline{Targets: []pipelines.Target{{Name: "debian12", Build: func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Bootstrap{Method: "deb", Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "bookworm"}}})
	}}}}
}

func TestTrust(t *testing.T) {
	ca, cert := authority(t, "Inspecting Proxy CA")
	port := server(t, &cert, time.Now())
	input := func() Input {
		in := newMachine(t, nil).Input
		in.Pipeline = bookworm()
		in.Site = site.Site{Name: "here", Mirrors: map[string][]site.Mirror{"debian": {{URL: "https://localhost:" + port + "/debian/"}}},
			Registries: []site.Registry{{Prefix: "docker.io", Location: "localhost:" + port}}}
		return in
	}
	// Nobody knows the issuer.
	r := Run(t.Context(), input())
	if c := find(t, r.Checks, "localhost"); c.Status != Failed || !strings.Contains(c.Text, "CN=Inspecting Proxy CA") || !strings.Contains(c.Fix[0], `ca = ["FILE.crt"]`) {
		t.Errorf("unknown issuer: %+v", c)
	}
	if c := find(t, r.Checks, "debian bookworm"); c.Status != OK || !strings.HasSuffix(c.Text, "/debian/: answers") {
		t.Errorf("mirror: %+v", c)
	}
	if c := find(t, r.Checks, "localhost:"+port); c.Status != OK || c.Text != "answers, wants a login" {
		t.Errorf("registry: %+v", c)
	}
	// The machine knows it, the site does not.
	in := input()
	in.MachineCAs = []site.Certificate{ca}
	bundle := tree(t, map[string]string{"etc/ssl/certs/ca-certificates.crt": string(ca.PEM)})
	in.Root = bundle
	if c := find(t, Run(t.Context(), in).Checks, "localhost"); c.Status != Warning || !strings.Contains(c.Text, "images would not trust it") {
		t.Errorf("machine's: %+v", c)
	}
	// It is a public root.
	in.MachineCAs = nil
	if c := find(t, Run(t.Context(), in).Checks, "localhost"); c.Status != OK || c.Text != `signed by the public root "Inspecting Proxy CA"` {
		t.Errorf("public: %+v", c)
	}
	// The site knows it.
	in = input()
	in.Site.CAs = []site.Certificate{ca}
	if c := find(t, Run(t.Context(), in).Checks, "localhost"); c.Status != OK || !strings.Contains(c.Text, "which the site trusts") {
		t.Errorf("site's: %+v", c)
	}
	// An expired clock.
	in.Now = func() time.Time { return time.Now().Add(30 * time.Minute) }
	if c := find(t, Run(t.Context(), in).Checks, "clock"); c.Status != Failed || !strings.Contains(c.Text, "30m") {
		t.Errorf("clock: %+v", c)
	}
}

func TestMirrors(t *testing.T) {
	port := server(t, nil, time.Now())
	good, gone, dead := "http://localhost:"+port+"/debian", "http://localhost:"+port+"/nothing", "http://127.0.0.1:1/debian"
	for want, urls := range map[Status][]string{OK: {good}, Warning: {gone, good}, Failed: {gone, dead}} {
		in := newMachine(t, nil).Input
		in.Pipeline = bookworm()
		in.Site.Name = "here"
		var list []site.Mirror
		for _, u := range urls {
			list = append(list, site.Mirror{URL: u})
		}
		in.Site.Mirrors = map[string][]site.Mirror{"debian": list}
		c := find(t, Run(t.Context(), in).Checks, "debian bookworm")
		if c.Status != want || strings.Count(c.Text, "\n") != len(urls)-1 {
			t.Errorf("%v: %+v", urls, c)
		}
		if strings.Contains(strings.Join(urls, " "), "nothing") && !strings.Contains(c.Text, "404 Not Found") {
			t.Errorf("%+v", c)
		}
	}
	in := newMachine(t, nil).Input
	in.Pipeline, in.Site.Name = bookworm(), "bare"
	if c := find(t, Run(t.Context(), in).Checks, "debian bookworm"); c.Text != "site bare names no mirror of debian" {
		t.Errorf("%+v", c)
	}
	in.Site.Registries = []site.Registry{{Prefix: "localhost:" + port}}
	if c := find(t, Run(t.Context(), in).Checks, "localhost:"+port); c.Text != "speaks plain HTTP" || c.Fix[0] != `site file: [[registry]] prefix = "localhost:`+port+`", insecure = true` {
		t.Errorf("%+v", c)
	}
}

func TestGitLab(t *testing.T) {
	vars := map[string]string{"GITLAB_CI": "true"}
	m := newMachine(t, nil)
	m.Getenv = func(k string) string { return vars[k] }
	if c := m.gitlab(t.Context()); c[0].Status != Warning || !strings.Contains(c[0].Fix[0], "Container registry") {
		t.Errorf("%+v", c)
	}
	maps.Copy(vars, map[string]string{"CI_REGISTRY_IMAGE": "r.example/g/p"})
	if c := m.gitlab(t.Context()); c[0].Status != Failed {
		t.Errorf("%+v", c)
	}
	vars["CI_JOB_TOKEN"] = "x"
	if c := m.gitlab(t.Context()); c[0].Status != OK || c[0].Text != "run --push auto pushes to r.example/g/p/TARGET" {
		t.Errorf("%+v", c)
	}
}

// The real machine: nothing crashes, and what is said about overlay is true.
func TestThisMachine(t *testing.T) {
	m := &machine{Input{Root: "/", Getenv: os.Getenv, Now: time.Now, UID: os.Getuid(), StateDir: t.TempDir(), Timeout: 10 * time.Second}}
	for _, c := range append(m.overlay(t.Context()), m.namespaces(t.Context())...) {
		t.Logf("%s: %s: %s", c.Name, c.Status, c.Text)
		if c.Text == "" {
			t.Errorf("%+v", c)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), "cfbuild-doctor-") {
		t.Error("a mount is left behind")
	}
}
