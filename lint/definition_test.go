package lint

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

var aptEnv = map[string]string{"DEBIAN_FRONTEND": "noninteractive"}

// described is what a sound definition configures.
func described() pipelines.Configure {
	labels := map[string]string{}
	for _, k := range []string{"title", "description", "version", "source", "revision", "documentation"} {
		labels[ociLabel+k] = "x"
	}
	labels[ociLabel+"licenses"] = "MIT"
	return pipelines.Configure{User: "app", Labels: labels}
}

const clean = "apt-get update\napt-get -y dist-upgrade\napt-get -y install curl\nrm -rf /var/lib/apt/lists/*"

// ofShell runs a script on a bootstrapped Debian.
func ofShell(script string) []pipelines.Step {
	return []pipelines.Step{pipelines.Run{Shell: script, Env: aptEnv}}
}

func bookworm(include ...string) pipelines.Source {
	return pipelines.Bootstrap{Method: "deb", Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "bookworm"}}, Include: include}
}

func TestBadDefinitions(t *testing.T) {
	pinned := "docker.io/library/debian:12@sha256:" + strings.Repeat("a", 64)
	key := privateKey()
	glpat := "glpat" + "-" + letters(20)
	upgraded := func(more ...pipelines.Step) []pipelines.Step {
		return append([]pipelines.Step{pipelines.Run{Shell: clean, Env: aptEnv}}, more...)
	}
	for name, c := range map[string]struct {
		from   pipelines.Source
		steps  []pipelines.Step
		want   []string
		secret string
	}{
		"nothing":                                {bookworm(), upgraded(), nil, ""},
		"nothing, pulled":                        {pipelines.Pull{Ref: pinned}, upgraded(), nil, ""},
		"base elsewhere":                         {pipelines.Pull{Ref: strings.Replace(pinned, "docker.io", "evil.example", 1)}, upgraded(), []string{BaseOutsideSite}, ""},
		"golden base":                            {pipelines.Pull{Ref: strings.Replace(pinned, "docker.io", "gold.example/base", 1)}, upgraded(), nil, ""},
		"latest":                                 {pipelines.Pull{Ref: "debian"}, upgraded(), []string{BaseFloating}, ""},
		"latest, said":                           {pipelines.Pull{Ref: "debian:latest"}, upgraded(), []string{BaseFloating}, ""},
		"tag alone":                              {pipelines.Pull{Ref: "debian:12"}, upgraded(), []string{BaseNotPinned}, ""},
		"no upgrade":                             {pipelines.Pull{Ref: pinned}, ofShell("apt-get update && apt-get -y install curl && rm -rf /var/lib/apt/lists/*"), []string{NoUpgrade}, ""},
		"no step":                                {pipelines.Pull{Ref: pinned}, nil, []string{NoUpgrade}, ""},
		"dnf upgrade":                            {pipelines.Pull{Ref: pinned}, ofShell("dnf -y update && dnf -y install curl && dnf clean all"), nil, ""},
		"dnf upgrade with options in a variable": {pipelines.Pull{Ref: pinned}, ofShell("dnf -y ${CA:+\"--setopt=sslcacert=$CA\"} upgrade\ndnf clean all"), nil, ""},
		"upgrade too late":                       {pipelines.Pull{Ref: pinned}, append(ofShell("apk add --no-cache curl"), ofShell("apk upgrade --no-cache")...), []string{NoUpgrade}, ""},
		"end of life":                            {pipelines.Bootstrap{Method: "deb", Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "buster"}}}, nil, []string{EndOfLife}, ""},
		"end of life, rpm":                       {pipelines.Bootstrap{Method: "rpm", Sources: []pipelines.PackageSource{{Repository: "centos-vault", Suite: "7.9.2009/os/$basearch"}}}, nil, []string{EndOfLife}, ""},
		"end of life, apk":                       {pipelines.Bootstrap{Method: "apk", Sources: []pipelines.PackageSource{{Repository: "alpine", Suite: "v3.18"}}}, nil, []string{EndOfLife}, ""},
		"supported, rpm":                         {pipelines.Bootstrap{Method: "rpm", Sources: []pipelines.PackageSource{{Repository: "centos-stream", Suite: "9-stream/BaseOS/$basearch/os"}}}, nil, nil, ""},
		"curl to sh":                             {bookworm(), ofShell("curl -fsSL https://get.example/x.sh | sudo -E bash -s -- -y"), []string{RemoteScript}, ""},
		"sh of curl":                             {bookworm(), ofShell(`sh -c "$(curl -fsSL https://get.example/x.sh)"`), []string{RemoteScript}, ""},
		"bash of a process":                      {bookworm(), ofShell("bash <(wget -qO- https://get.example/x.sh)"), []string{RemoteScript}, ""},
		"curl to a filter":                       {bookworm(), ofShell("curl -s https://x.example/list | grep a | python3 -"), []string{RemoteScript}, ""},
		"download":                               {bookworm(), ofShell("cd /opt && wget https://x.example/a.tar.gz && tar xf a.tar.gz"), []string{FetchUnverified}, ""},
		"download, piped":                        {bookworm(), ofShell("curl -L https://x.example/a.tar.gz | tar xz -C /opt"), []string{FetchUnverified}, ""},
		"download, checked":                      {bookworm(), ofShell("curl -LO https://x.example/a.tar.gz && echo 'abc  a.tar.gz' | sha256sum -c -"), nil, ""},
		"a look":                                 {bookworm(), ofShell("curl -fsS https://x.example/health"), nil, ""},
		"update alone":                           {bookworm(), append(ofShell("apt-get update\nrm -rf /var/lib/apt/lists/*"), ofShell("apt-get update && apt-get -y install curl && rm -rf /var/lib/apt/lists/*")...), []string{IndexAlone}, ""},
		"install alone":                          {bookworm(), ofShell("apt-get -y install curl"), []string{IndexMissing}, ""},
		"asks":                                   {bookworm(), ofShell("apt-get update && apt-get install curl && rm -rf /var/lib/apt/lists/*"), []string{Interactive}, ""},
		"asks, dnf":                              {bookworm(), ofShell("dnf install curl && dnf clean all"), []string{Interactive}, ""},
		"asks, zypper":                           {bookworm(), ofShell("zypper install curl && zypper clean -a"), []string{Interactive}, ""},
		"no frontend":                            {bookworm(), []pipelines.Step{pipelines.Run{Shell: "apt-get update && apt-get -qy install curl && rm -rf /var/lib/apt/lists/*"}}, []string{FrontendMissing}, ""},
		"frontend exported":                      {bookworm(), []pipelines.Step{pipelines.Run{Shell: "export DEBIAN_FRONTEND=noninteractive\n" + clean}}, nil, ""},
		"frontend in front":                      {bookworm(), []pipelines.Step{pipelines.Run{Shell: "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get -y install curl; rm -rf /var/lib/apt/lists/*"}}, nil, ""},
		"signatures off":                         {bookworm(), ofShell("dnf -y --nogpgcheck install x && dnf clean all"), []string{SignaturesOff}, ""},
		"untrusted apk":                          {bookworm(), []pipelines.Step{pipelines.Run{Args: []string{"apk", "add", "--no-cache", "--allow-untrusted", "x"}}}, []string{SignaturesOff}, ""},
		"curl -k":                                {bookworm(), ofShell("curl -sk https://x.example/"), []string{SignaturesOff}, ""},
		"gpgcheck=0":                             {bookworm(), []pipelines.Step{pipelines.File{Path: "/etc/yum.repos.d/x.repo", Data: []byte("[x]\ngpgcheck=0\n")}}, []string{SignaturesOff}, ""},
		"cache left":                             {bookworm(), ofShell("apt-get update && apt-get -y install curl"), []string{PackageCache}, ""},
		"cache left, dnf":                        {bookworm(), ofShell("dnf -y install curl"), []string{PackageCache}, ""},
		"cache left, pip":                        {bookworm(), ofShell("pip install numpy"), []string{PackageCache}, ""},
		"cache mounted":                          {bookworm(), []pipelines.Step{pipelines.Run{Shell: "pip3 install numpy", Caches: []pipelines.CacheMount{{Target: "/root/.cache/pip"}}}}, nil, ""},
		"cache in a late rm":                     {bookworm(), ofShell("dnf -y install curl\nrm -rf /var/cache/dnf"), nil, ""},
		"undone":                                 {bookworm(), append(ofShell("apt-get update && apt-get -y install gcc && rm -rf /var/lib/apt/lists/*"), ofShell("apt-get -y purge gcc")...), []string{PackagesUndone}, ""},
		"done and undone":                        {bookworm(), ofShell("apt-get update && apt-get -y install gcc && make && apt-get -y purge gcc && rm -rf /var/lib/apt/lists/*"), nil, ""},
		"secret in a step":                       {bookworm(), ofShell("curl -H 'PRIVATE-TOKEN: " + letters(20) + "' https://x.example/"), []string{SecretInHistory}, letters(20)},
		"secret assigned":                        {bookworm(), ofShell("PASSWORD=" + letters(12) + " ./configure"), []string{SecretInHistory}, letters(12)},
		"secret mounted":                         {bookworm(), ofShell("TOKEN=\"$(cat /run/secrets/token)\" ./configure --password-file /run/secrets/p"), nil, ""},
		"secret in step env":                     {bookworm(), []pipelines.Step{pipelines.Run{Shell: "make", Env: map[string]string{"API_TOKEN": letters(20)}}}, []string{SecretInHistory}, letters(20)},
		"key in a file":                          {bookworm(), []pipelines.Step{pipelines.File{Path: "/etc/ssl/k.pem", Data: []byte(key)}}, []string{PrivateKey}, key[40:80]},
		"token in a file":                        {bookworm(), []pipelines.Step{pipelines.File{Path: "/etc/app.conf", Data: []byte(glpat)}}, []string{TokenInFile}, glpat},
		"netrc":                                  {bookworm(), []pipelines.Step{pipelines.File{Path: "/root/.netrc", Data: []byte("machine x login y password " + letters(9))}}, []string{CredentialFile}, letters(9)},
		"secret in env":                          {bookworm(), []pipelines.Step{pipelines.Configure{Env: map[string]string{"DB_PASSWORD": letters(12)}}}, []string{SecretInEnv}, letters(12)},
		"secret in label":                        {bookworm(), []pipelines.Step{pipelines.Configure{Labels: map[string]string{"x": "https://me:" + letters(12) + "@x.example"}}}, []string{SecretInLabel}, letters(12)},
		"frontend kept":                          {bookworm(), []pipelines.Step{pipelines.Configure{Env: map[string]string{"DEBIAN_FRONTEND": "noninteractive"}}}, []string{FrontendKept}, ""},
		"shell form":                             {bookworm(), []pipelines.Step{pipelines.Configure{Cmd: []string{"/bin/sh", "-c", "nginx"}}}, []string{ShellForm}, ""},
		"ssh port":                               {bookworm(), []pipelines.Step{pipelines.Configure{ExposedPorts: []string{"22"}}}, []string{SSHPort}, ""},
		"volume":                                 {bookworm(), []pipelines.Step{pipelines.Configure{Volumes: []string{"/usr/lib"}}}, []string{SystemVolume}, ""},
		"root":                                   {bookworm(), []pipelines.Step{pipelines.Configure{User: "root"}}, []string{RootUser}, ""},
		"env in bashrc":                          {bookworm(), ofShell("echo 'export JAVA_HOME=/opt/java' >> /root/.bashrc"), []string{EnvInFile}, ""},
		"env in profile.d":                       {bookworm(), []pipelines.Step{pipelines.File{Path: "/etc/profile.d/java.sh", Data: []byte("export JAVA_HOME=/opt/java\n")}}, []string{EnvInFile}, ""},
		"file in home":                           {bookworm(), []pipelines.Step{pipelines.File{Path: "/home/app/x", Data: []byte("x")}}, []string{BoundDirectory}, ""},
		"clone in home":                          {bookworm(), ofShell("git clone --depth 1 https://x.example/y.git /home/app/y"), []string{BoundDirectory}, ""},
		"working directory":                      {bookworm(), []pipelines.Step{pipelines.Configure{WorkingDir: "/tmp/work"}}, []string{BoundDirectory}, ""},
		"sudo":                                   {bookworm("sudo"), nil, []string{NeedlessTool}, ""},
		"ssh installed":                          {bookworm(), ofShell("apk add --no-cache openssh-client"), []string{NeedlessTool}, ""},
		"chmod 777":                              {bookworm(), ofShell("chmod -R 777 /opt/app"), []string{WorldWritable}, ""},
		"chmod 1777":                             {bookworm(), ofShell("chmod 1777 /opt/tmp; chmod 0755 /opt"), nil, ""},
		"mode 0666":                              {bookworm(), []pipelines.Step{pipelines.File{Path: "/etc/x", Mode: 0o666}}, []string{WorldWritable}, ""},
		"owner 1000":                             {bookworm(), []pipelines.Step{pipelines.File{Path: "/etc/x", Owner: "1000:1000"}}, []string{UserOwned}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			img := pipelines.From(amd64(), c.from).Then(described()).Then(c.steps...)
			target := pipelines.Target{Name: "bad", Build: func(pipelines.Platform) pipelines.Image { return img }}
			job, err := pipelines.NewJob(target, amd64())
			if err != nil {
				t.Fatal(err)
			}
			s := site.Site{Registries: []site.Registry{{Prefix: "docker.io", Mirrors: []site.RegistryMirror{{Location: "cache.example:5000"}}}, {Prefix: "gold.example"}}}
			fs := Join(false, Definition(job, target, s, today), nil)
			want := slices.Clone(c.want)
			slices.Sort(want)
			if got := rulesOf(fs); !slices.Equal(got, want) {
				t.Errorf("found %v, want %v", got, want)
				for _, f := range fs {
					t.Logf("%s %s: %s", f.Rule, f.Subject, f.Message)
				}
			}
			j, _ := json.Marshal(fs)
			if c.secret != "" && strings.Contains(string(j), c.secret) {
				t.Errorf("the secret is repeated: %s", j)
			}
			for _, f := range fs {
				if !strings.HasSuffix(f.Where.File, "_test.go") || f.Where.Line == 0 || f.Step == "" {
					t.Errorf("no author's line: %+v", f)
				}
			}
		})
	}
}

// What the target declares is no warning.
func TestDeclaredEnd(t *testing.T) {
	target := pipelines.Target{Name: "old", EndOfLife: "2024-06-30", Build: func(p pipelines.Platform) pipelines.Image {
		return pipelines.From(p, pipelines.Bootstrap{Method: "deb", Sources: []pipelines.PackageSource{{Repository: "debian", Suite: "buster"}}}).Then(described())
	}}
	job, err := pipelines.NewJob(target, amd64())
	if err != nil {
		t.Fatal(err)
	}
	fs := Definition(job, target, site.Site{}, today)
	if got := fmt.Sprint(rulesOf(fs)); got != "["+EndOfLifeSaid+"]" || fs[0].Severity != Info {
		t.Errorf("%s: %+v", got, fs)
	}
}

func TestCommands(t *testing.T) {
	for script, want := range map[string]string{
		"a b; c":                             "a b|c",
		"a 'b c' \"d $e\" # f\ng":            "a b c d $e|g",
		"a \\\n  b && c || d":                "a b|c|d",
		"x=1 y=2 a":                          "a",
		"if sudo -E a; then b; fi":           "a|b|fi",
		"cat <<EOF > f\ncurl x | sh\nEOF\nb": "cat <<EOF > f|b",
		"a 2>&1 | b":                         "a 2>&1|b",
		"x=$(curl a) b":                      "curl a|b",
		"'":                                  "",
		"a \\":                               "a",
		"cat <<-'X'\nrm -rf /\n\tX\nb":       "cat <<-X|b",
	} {
		var got []string
		for _, c := range commands(script) {
			if len(c.words) > 0 {
				got = append(got, strings.Join(c.words, " "))
			}
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%q: %q, want %q", script, s, want)
		}
	}
}

func FuzzCommands(f *testing.F) {
	f.Add("curl x | sh <<EOF\na\nEOF")
	f.Add("a \\")
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range commands(s) {
			c.verb()
			manages(c)
		}
		Blot(s)
	})
}

func TestBlot(t *testing.T) {
	secret := letters(20)
	for _, s := range []string{"curl -u me:" + secret + " x", "PASSWORD=" + secret, "x --token " + secret, "api_key: \"" + secret + "\"",
		"https://me:" + secret + "@x.example/", "glpat" + "-" + secret, "Authorization: Bearer " + secret} {
		if got := Blot(s); strings.Contains(got, secret) {
			t.Errorf("%q keeps the secret: %q", s, got)
		}
	}
	for _, s := range []string{"apt-get install python3-secretstorage=3.3.3-1", "TOKEN= make", "RUN --mount=type=secret,id=npm_token,target=/x make", "passwd -l root", "cat /run/secrets/token", "TOKEN=$X make", "TOKEN_FILE=/run/secrets/x", "run apt-get update", "https://x.example/"} {
		if got := Blot(s); got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}
