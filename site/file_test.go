package site

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
)

func TestSiteFile(t *testing.T) {
	root := string(makeCert(t, certSpec{cn: "Lab Root"}))
	two := string(makeCert(t, certSpec{cn: "Two A"})) + string(makeCert(t, certSpec{cn: "Two B"}))
	inline := string(makeCert(t, certSpec{cn: "Inline & Söns"}))
	variable := string(makeCert(t, certSpec{cn: "From CI"}))
	dir := writeTree(t, map[string]string{
		"lab.toml": `extends = "ornl"
ca = ["Netskope*.pem", "more", "$LAB_CA", { file = "build.crt", build-only = true }, """
` + inline + `"""]
[mirrors]
debian = ["http://near.example/debian/", "http://ftp.debian.org/debian"]
lab = { url = "https://near.example/lab", build-only = true }
[keyrings]
lab = "lab.asc"
[[registry]]
prefix = "quay.io"
mirrors = [{ location = "near.example:5000", insecure = true }, "near.example/quay"]
[proxy]
https = "${P}"
no = ["localhost", ".example"]
`,
		"Netskope Root.pem":      root,
		"Netskope-two.pem":       "a comment\n" + two,
		"more/again.crt":         "\r\n" + strings.ReplaceAll(root, "\n", "\r\n"), // the same one again
		"more/netskope-root.pem": string(makeCert(t, certSpec{cn: "Another"})),
		"build.crt":              string(makeCert(t, certSpec{cn: "Build"})),
		"tmp/var":                variable,
		"lab.asc":                "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
	})
	env := map[string]string{"LAB_CA": dir + "/tmp/var", "P": "http://bob:pw@proxy.example:3128"}
	s, err := Load(dir+"/lab.toml", LoadOptions{Now: testNow, Getenv: func(n string) string { return env[n] }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(testNow); err != nil {
		t.Errorf("a loaded site does not pass Check: %v", err)
	}
	if got, want := s.URLs("debian"), []string{"http://near.example/debian", "http://ftp.debian.org/debian", "https://repoman.ornl.gov/debian"}; !reflect.DeepEqual(got, want) {
		t.Errorf("debian mirrors %v, want %v", got, want)
	}
	if got, want := s.URLs("debian-security"), ORNL().URLs("debian-security"); !reflect.DeepEqual(got, want) {
		t.Errorf("security mirrors %v, want those of ornl %v", got, want)
	}
	var names, inImages []string
	for _, c := range s.CAs {
		names = append(names, c.Name)
	}
	for _, c := range s.ImageCAs() {
		inImages = append(inImages, c.Name)
	}
	if want := []string{"Netskope-Root", "Netskope-two-1", "Netskope-two-2", "netskope-root-2", "var", "build", "Inline-S-ns"}; !reflect.DeepEqual(names, want) {
		t.Errorf("authorities %v, want %v", names, want)
	}
	if strings.Contains(strings.Join(inImages, " "), "build") || len(inImages) != len(names)-1 {
		t.Errorf("authorities for images: %v", inImages)
	}
	if want := root + two; !bytes.HasPrefix(s.Bundle(), []byte(want)) || bytes.Count(s.Bundle(), []byte("BEGIN")) != len(names) {
		t.Errorf("bundle does not hold the certificates in order:\n%s", s.Bundle())
	}
	want := []Registry{
		{Prefix: "docker.io", Location: "docker.io", Mirrors: []RegistryMirror{{Location: "cfcc01.ornl.gov:4567"}}},
		{Prefix: "quay.io", Mirrors: []RegistryMirror{{"near.example:5000", true}, {"near.example/quay", false}}},
	}
	if !reflect.DeepEqual(s.Registries, want) {
		t.Errorf("registries %+v, want %+v", s.Registries, want)
	}
	if want := (Proxy{HTTPS: env["P"], No: "localhost,.example"}); s.Proxy != want {
		t.Errorf("proxy %+v, want %+v", s.Proxy, want)
	}

	// A child process is handed the site as JSON.
	var back Site
	b, _ := json.Marshal(s)
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(s, back) {
		t.Errorf("JSON loses something (%v):\n%+v\n%+v", err, s, back)
	}
	var text bytes.Buffer
	if err := s.Show(&text); err != nil {
		t.Fatal(err)
	}
	described, _ := json.Marshal(s.Describe())
	for _, shown := range []string{text.String(), string(described)} {
		if strings.Contains(shown, "pw") || strings.Contains(shown, "bob") {
			t.Errorf("credentials are shown:\n%s", shown)
		}
		if !strings.Contains(shown, "CN=Lab Root") || !strings.Contains(shown, "2040-01-01") || !strings.Contains(shown, "***@proxy.example:3128") {
			t.Errorf("something is missing:\n%s", shown)
		}
	}
}

// The example is what people copy: it has to load, also with what is commented out.
func TestExample(t *testing.T) {
	data, err := os.ReadFile("../examples/site.toml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load("../examples/site.toml", LoadOptions{Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.URLs("debian"); len(got) != 3 || got[0] != "https://mirror.example.org/debian" {
		t.Errorf("debian mirrors %v", got)
	}
	if got := s.ImageURLs("debian"); len(got) != 2 {
		t.Errorf("debian mirrors in images %v", got)
	}
	full := strings.Builder{}
	for line := range strings.Lines(string(data)) {
		if rest, is := strings.CutPrefix(line, "#"); is && rest != "" && rest[0] != ' ' || strings.HasPrefix(line, "#  ") {
			line = rest
		}
		full.WriteString(line)
	}
	ca := string(makeCert(t, certSpec{cn: "Lab Root"}))
	dir := writeTree(t, map[string]string{
		"site.toml": full.String(), "certs/lab-root.pem": ca, "Netskope1.pem": ca, "certs/proxy-root.pem": string(makeCert(t, certSpec{cn: "P"})),
		"keys/mirror.asc": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
	})
	env := map[string]string{"LAB_CA": dir + "/certs/lab-root.pem", "HTTPS_PROXY": "http://p:1"}
	s, err = Load(dir+"/site.toml", LoadOptions{Now: testNow, Root: t.TempDir(), Getenv: func(n string) string { return env[n] }})
	if err != nil {
		t.Fatalf("with everything switched on: %v\n%s", err, full.String())
	}
	if len(s.CAs) != 2 || s.CAs[0].Mode() != "both" || s.CAs[1].Mode() != "build-only" || len(s.Keyrings) != 1 || s.Proxy.No != "localhost,.example.org" {
		t.Errorf("with everything switched on: %+v", s.Describe())
	}
}

func TestBuiltins(t *testing.T) {
	for _, s := range []Site{Public(), ORNL(), NCCS(), Univention()} {
		if err := s.Check(testNow); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		var b bytes.Buffer
		if err := s.Show(&b); err != nil {
			t.Fatal(err)
		}
		golden.Check(t, "show-"+s.Name+".txt", b.Bytes())
		for _, repo := range knownRepositories() {
			if len(s.URLs(repo)) == 0 {
				t.Errorf("%s has no mirror for %s", s.Name, repo)
			}
		}
		if s.Name == "ornl" && !strings.HasPrefix(s.URLs("debian")[0], "https://repoman.ornl.gov/") {
			t.Errorf("ornl prefers %v", s.URLs("debian"))
		}
	}
}

func TestWithCAs(t *testing.T) {
	dir := writeTree(t, map[string]string{"a.pem": string(makeCert(t, certSpec{cn: "A"}))})
	s, err := ORNL().WithCAs(LoadOptions{Dir: dir, Now: testNow}, "*.pem", "a.pem")
	if err != nil || len(s.CAs) != 1 || s.CAs[0].Name != "a" {
		t.Errorf("%v %+v", err, s.CAs)
	}
	_, err = s.WithCAs(LoadOptions{Dir: dir, Now: testNow}, "b.pem")
	if want := `certificate authority "b.pem": ` + dir + `/b.pem: no such file or directory`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCheck(t *testing.T) {
	ca := Certificate{Name: "a", PEM: makeCert(t, certSpec{cn: "A", to: "2025-01-01"})}
	for _, c := range []struct {
		s   Site
		err string
	}{
		{Site{Mirrors: map[string][]Mirror{"debian": {{URL: "http://u:p@h/d"}}}}, `mirrors.debian[0]: "http://u:xxxxx@h/d" holds credentials`},
		{Site{Mirrors: map[string][]Mirror{"De bian": nil}}, `repository "De bian": is not a repository name`},
		{Site{CAs: []Certificate{ca}}, `ca[0] a: certificate 1 of 1 (CN=A, line 1) expired on 2025-01-01`},
		{Site{CAs: []Certificate{{Name: "../a", PEM: ca.PEM}}}, `ca[0]: name "../a" is not a file name`},
		{Site{CAs: []Certificate{{Name: "a"}}}, `ca[0] a: holds no PEM certificate`},
		{Site{Keyrings: map[string]Keyring{"debian": {}}}, `keyrings.debian: holds no key`},
		{Site{Registries: []Registry{{Prefix: "docker.io", Location: "https://x"}}}, `registry[0]: "https://x" is a URL, not host[:port][/path]`},
		{Site{Proxy: Proxy{HTTP: "ftp://x"}}, `proxy.http: "ftp://x" has scheme ftp, not http or https`},
	} {
		if err := c.s.Check(testNow); err == nil || err.Error() != c.err {
			t.Errorf("got  %v\nwant %s", err, c.err)
		}
	}
	if err := (Site{CAs: []Certificate{ca}}).Check(testNow.AddDate(-2, 0, 0)); err != nil {
		t.Errorf("valid then: %v", err)
	}
}
