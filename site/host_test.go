package site

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

func loadHost(t *testing.T, files map[string]string, env map[string]string) Site {
	t.Helper()
	s, err := Load("host", LoadOptions{Root: writeTree(t, files), Now: testNow, Getenv: func(n string) string { return env[n] }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(testNow); err != nil {
		t.Errorf("the host's site does not pass Check: %v", err)
	}
	return s
}

func TestHostMirrors(t *testing.T) {
	armored := "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\n" + base64.StdEncoding.EncodeToString([]byte("packets")) + "\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  map[string][]string // besides what Public fills in
		keys  map[string]string
		notes []string
	}{
		{name: "deb822",
			files: map[string]string{
				"etc/apt/sources.list.d/debian.sources": "Types: deb deb-src\n# a comment\nURIs: http://a.example/debian/\n http://b.example/debian\nSuites: bookworm\n bookworm-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n" +
					"types: deb\nuris: http://a.example/debian-security\nsuites: bookworm-security\ncomponents: main\n\n" +
					"Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n\n" +
					"Types: deb-src\nURIs: http://src.example/debian\nSuites: bookworm\nComponents: main\n",
				"usr/share/keyrings/debian-archive-keyring.gpg": "KEYS",
				"etc/apt/trusted.gpg.d/lab.asc":                 armored,
			},
			want: map[string][]string{"debian": {"http://a.example/debian", "http://b.example/debian"}, "debian-security": {"http://a.example/debian-security"}},
			keys: map[string]string{"debian": "KEYS", "debian-security": "packets"}},
		{name: "one line",
			files: map[string]string{
				"etc/apt/sources.list": "# deb http://comment.example/debian bookworm main\ndeb [arch=amd64 signed-by=/k/debian-archive.gpg] http://a.example/debian bullseye main # rest\n" +
					"deb http://security.a.example/debian-security bullseye-security main\ndeb-src http://src.example/debian bullseye main\ndeb http://old.example/debian-security buster/updates main\n",
				"k/debian-archive.gpg": "K1",
			},
			want: map[string][]string{"debian": {"http://a.example/debian"}, "debian-security": {"http://security.a.example/debian-security", "http://old.example/debian-security"}},
			keys: map[string]string{"debian": "K1"}},
		{name: "a key in the file",
			files: map[string]string{"var/lib/apt/lists/a.example_debian_dists_trixie_InRelease": "Origin: Debian\nLabel: Debian\n", "etc/apt/sources.list.d/x.sources": "Types: deb\nURIs: http://a.example/debian\nSuites: trixie\nComponents: main\nSigned-By:\n" +
				" " + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(armored), "\n\n", "\n.\n"), "\n", "\n ") + "\n"},
			want: map[string][]string{"debian": {"http://a.example/debian"}},
			keys: map[string]string{"debian": "packets"}},
		{name: "vendors are not the distribution",
			files: map[string]string{"etc/apt/sources.list.d/v.list": "deb https://download.docker.example/linux/debian bookworm stable\n" +
				"deb https://deb.node.example/node_20.x bookworm main\ndeb http://apt.pg.example/pub/repos/apt bookworm-pgdg main\n" +
				"deb [signed-by=/usr/share/keyrings/runner.gpg] https://packages.lab.example/runner/debian bookworm main\ndeb https://packages.ms.example/debian/12/prod bookworm main\n"}},
		{name: "the release file is the witness",
			files: map[string]string{
				"etc/apt/sources.list": "deb http://nexus.example/repository/apt-1 bookworm main\ndeb http://nexus.example/repository/apt-2 bookworm-security main\ndeb http://nexus.example/debian bookworm main\n",
				"var/lib/apt/lists/nexus.example_repository_apt-1_dists_bookworm_InRelease":        "-----BEGIN PGP\n\nOrigin: Debian\nLabel: Debian\n",
				"var/lib/apt/lists/nexus.example_repository_apt-2_dists_bookworm-security_Release": "Origin: Debian\nLabel: Debian-Security\n",
				"var/lib/apt/lists/nexus.example_debian_dists_bookworm_InRelease":                  "Origin: Somebody\nLabel: Debian\n",
			},
			want: map[string][]string{"debian": {"http://nexus.example/repository/apt-1"}, "debian-security": {"http://nexus.example/repository/apt-2"}}},
		{name: "ubuntu",
			files: map[string]string{"etc/apt/sources.list": "deb http://archive.ubuntu.com/ubuntu noble main\ndeb http://security.ubuntu.com/ubuntu noble-security main\ndeb http://ports.ubuntu.com/ubuntu-ports noble main\n"},
			want:  map[string][]string{"ubuntu": {"http://archive.ubuntu.com/ubuntu", "http://security.ubuntu.com/ubuntu"}, "ubuntu-ports": {"http://ports.ubuntu.com/ubuntu-ports"}}},
		{name: "mirror list",
			files: map[string]string{
				"etc/apt/sources.list":        "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main\n",
				"etc/apt/mirrors/debian.list": "# list\nhttp://none.example/debian\nhttp://two.example/debian\tpriority:2\nhttp://one.example/debian\tarch:amd64\tpriority:1\n",
			},
			want: map[string][]string{"debian": {"http://one.example/debian", "http://two.example/debian", "http://none.example/debian"}}},
		{name: "left out",
			files: map[string]string{"etc/apt/sources.list": "deb http://bob:hunter2@a.example/debian bookworm main\ndeb cdrom:[Debian]/ bookworm main\ndeb tor+http://x.example/debian bookworm main\n"},
			notes: []string{`/etc/apt/sources.list: left out: "http://bob:xxxxx@a.example/debian" holds credentials`,
				`/etc/apt/sources.list: left out: tor+http://x.example/debian: cfbuild reads http, https and mirror+file sources`}},
		{name: "no apt here", files: map[string]string{"etc/os-release": "ID=rocky\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := loadHost(t, c.files, nil)
			for _, repo := range knownRepositories() {
				want, buildOnly := c.want[repo], true
				if want == nil {
					want, buildOnly = Public().URLs(repo), false
				}
				if got := s.URLs(repo); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: mirrors %v, want %v", repo, got, want)
				}
				if got := s.ImageURLs(repo); !reflect.DeepEqual(got, Public().URLs(repo)) {
					t.Errorf("%s: images would get %v", repo, got)
				}
				if s.Mirrors[repo][0].BuildOnly != buildOnly {
					t.Errorf("%s: BuildOnly is %v", repo, !buildOnly)
				}
				if got := string(s.Keyrings[repo].Keys); got != c.keys[repo] {
					t.Errorf("%s: keys %q, want %q", repo, got, c.keys[repo])
				}
			}
			if !reflect.DeepEqual(s.Notes, c.notes) {
				t.Errorf("notes %q, want %q", s.Notes, c.notes)
			}
		})
	}
}

func TestHostTrust(t *testing.T) {
	pub := string(makeCert(t, certSpec{cn: "Public Root"}))
	lab := string(makeCert(t, certSpec{cn: "Lab Root"}))
	rh := string(makeCert(t, certSpec{cn: "Anchor"}))
	loose := string(makeCert(t, certSpec{cn: "Loose & Root"}))
	s := loadHost(t, map[string]string{
		mozilla + "/Public.crt":                               pub,
		"usr/local/share/ca-certificates/sub/lab root.crt":    lab,
		"usr/local/share/ca-certificates/expired.crt":         string(makeCert(t, certSpec{cn: "Old", to: "2021-01-01"})),
		"usr/local/share/ca-certificates/broken.crt":          "-----BEGIN CERTIFICATE-----\n",
		"etc/pki/ca-trust/source/anchors/anchor.pem":          rh,
		"etc/ssl/certs/lab_root.pem":                          lab,
		"etc/ssl/certs/Public.pem":                            pub,
		"etc/ssl/certs/ssl-cert-snakeoil.pem":                 string(makeCert(t, certSpec{cn: "localhost", server: true})),
		"etc/ssl/certs/ca-certificates.crt":                   pub + lab + loose,
		"usr/local/share/ca-certificates/not-a-certificate.x": "hello",
	}, map[string]string{"http_proxy": "http://bob:pw@p.example:3128", "HTTPS_PROXY": "p.example:3128", "no_proxy": "localhost", "ALL_PROXY": "socks5://p"})
	var names []string
	for _, c := range s.CAs {
		names = append(names, c.Name)
		if !c.BuildOnly {
			t.Errorf("%s would be written into images", c.Name)
		}
	}
	if want := []string{"lab-root", "anchor", "Loose-Root"}; !reflect.DeepEqual(names, want) {
		t.Errorf("authorities %v, want %v", names, want)
	}
	if want := []string{
		"/usr/local/share/ca-certificates/broken.crt: left out: certificate 1 of 1 (line 1) is damaged: its PEM block is cut off or not base64",
		"/usr/local/share/ca-certificates/expired.crt: left out: certificate 1 of 1 (CN=Old, line 1) expired on 2021-01-01",
	}; !reflect.DeepEqual(s.Notes, want) {
		t.Errorf("notes %q, want %q", s.Notes, want)
	}
	if want := (Proxy{HTTP: "http://bob:pw@p.example:3128", HTTPS: "p.example:3128", No: "localhost"}); s.Proxy != want {
		t.Errorf("proxy %+v, want %+v", s.Proxy, want)
	}
	var b strings.Builder
	if err := s.Show(&b); err != nil || strings.Contains(b.String(), "pw") {
		t.Errorf("credentials are shown (%v):\n%s", err, b.String())
	}

	// Without the public roots to compare with, a bundle is not taken apart.
	s = loadHost(t, map[string]string{"etc/ssl/certs/ca-certificates.crt": pub + loose}, nil)
	if len(s.CAs) != 0 {
		t.Errorf("took %d certificates of a bundle of unknown origin", len(s.CAs))
	}
}

func TestHostRegistries(t *testing.T) {
	s := loadHost(t, map[string]string{
		"etc/containers/registries.conf": "unqualified-search-registries = ['docker.io']\n[[registry]]\nprefix = 'docker.io'\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = 'cache.example:4567'\ninsecure = true\n" +
			"[[registry]]\nlocation = 'quay.io'\n[[registry]]\nprefix = '*.example.org'\n[[registry]]\nprefix = 'evil.example'\nblocked = true\n",
		"etc/containers/registries.conf.d/b.conf":   "[[registry]]\nprefix = 'quay.io'\nlocation = 'other.example/quay'\n",
		"etc/containers/registries.conf.d/bad.conf": "[[registry\n",
	}, nil)
	want := []Registry{
		{Prefix: "docker.io", Location: "docker.io", Mirrors: []RegistryMirror{{"cache.example:4567", true}}},
		{Prefix: "quay.io", Location: "other.example/quay"},
	}
	if !reflect.DeepEqual(s.Registries, want) || len(s.Notes) != 3 {
		t.Errorf("registries %+v\nnotes %q", s.Registries, s.Notes)
	}
}

// On a Debian machine the site host finds a mirror that is in apt's own files.
func TestThisMachine(t *testing.T) {
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	if _, err := os.Stat("/etc/apt/sources.list"); err != nil && len(files) == 0 {
		testneed.Skip(t, "no apt sources here")
	}
	s, err := Load("host", LoadOptions{Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	m := s.Mirrors["debian"]
	if len(m) == 0 {
		t.Fatal("no mirror for debian")
	}
	if !m[0].BuildOnly {
		testneed.Skip(t, "this machine's apt has no source for Debian")
	}
	var all strings.Builder
	for _, f := range append(files, "/etc/apt/sources.list") {
		b, _ := os.ReadFile(f)
		all.Write(b)
	}
	if !strings.Contains(all.String(), m[0].URL) {
		t.Errorf("%s is in none of apt's files", m[0].URL)
	}
	for _, c := range s.CAs {
		if len(quietPEM(mozilla+"/"+c.Name+".crt")) > 0 {
			t.Errorf("%s is one of Mozilla's", c.Name)
		}
	}
}
