package lint

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func look(t *testing.T, b *bad, o ImageOptions) []Finding {
	t.Helper()
	l, d := b.write(t)
	o.Name, o.Now = "bad", today
	fs, err := Image(t.Context(), l, d, o)
	if err != nil {
		t.Fatal(err)
	}
	return Join(true, nil, fs)
}

// Each fault that is planted in an otherwise sound image is found, by exactly the
// rules that are meant to, and no secret is repeated.
func TestBadImages(t *testing.T) {
	key, glpat := privateKey(), "glpat"+"-"+letters(20)
	big := strings.Repeat("0123456789abcdef", 4<<16) // 4 MB
	for name, c := range map[string]struct {
		plant func(*bad)
		want  []string
		// secret must not be in what is found; path is where.
		secret, path string
	}{
		"nothing": {func(b *bad) {}, nil, "", ""},

		"apt lists":       {func(b *bad) { b.add(entry{name: "var/lib/apt/lists/mirror_Packages", data: big}) }, []string{PackageCache}, "", "/var/lib/apt/lists"},
		"apt lock alone":  {func(b *bad) { b.add(entry{name: "var/lib/apt/lists/lock"}) }, nil, "", ""},
		"apt archives":    {func(b *bad) { b.add(entry{name: "var/cache/apt/archives/x_1_amd64.deb", data: big}) }, []string{PackageCache}, "", ""},
		"dnf cache":       {func(b *bad) { b.add(entry{name: "var/cache/dnf/base/primary.xml.gz", data: big}) }, []string{PackageCache}, "", "/var/cache/dnf"},
		"what dnf leaves": {func(b *bad) { b.add(entry{name: "var/cache/dnf/expired_repos.json", data: "[]"}) }, nil, "", ""},
		"zypper cache":    {func(b *bad) { b.add(entry{name: "var/cache/zypp/packages/x.rpm", data: big}) }, []string{PackageCache}, "", ""},
		"apk cache":       {func(b *bad) { b.add(entry{name: "var/cache/apk/APKINDEX.1.tar.gz", data: big}) }, []string{PackageCache}, "", ""},
		"pip cache":       {func(b *bad) { b.add(entry{name: "root/.cache/pip/http/a", data: big}) }, []string{PackageCache}, "", "/root/.cache/pip"},
		"conda packages":  {func(b *bad) { b.add(entry{name: "opt/conda/pkgs/x-1.conda", data: big}) }, []string{PackageCache}, "", "/opt/conda/pkgs"},
		"npm cache":       {func(b *bad) { b.add(entry{name: "root/.npm/_cacache/content/a", data: big}) }, []string{PackageCache}, "", "/root/.npm/_cacache"},
		"cache cleaned by a later layer": {func(b *bad) {
			b.add(entry{name: "var/lib/apt/lists/mirror_Packages", data: big})
			b.top(entry{name: "var/lib/apt/lists/.wh.mirror_Packages"})
		}, []string{CacheInLowerLayer}, "", "/var/lib/apt/lists"},
		"hidden space": {func(b *bad) {
			b.add(entry{name: "opt/build/a.o", data: big}, entry{name: "opt/build/b.o", data: big})
			b.top(entry{name: "opt/.wh.build"})
		}, []string{HiddenSpace}, "", ""},
		"a little hidden": {func(b *bad) {
			b.add(entry{name: "opt/build/a.o", data: "x"})
			b.top(entry{name: "opt/.wh.build"})
		}, nil, "", ""},
		"packages undone": {func(b *bad) {
			b.add(entry{name: "lib/apk/db/installed", data: "C:Q1x\nP:musl\nV:1\n\nP:gcc\nV:14\n\n"})
			b.top(entry{name: "lib/apk/db/installed", data: "P:musl\nV:2\n\n"})
		}, []string{PackagesUndone}, "", ""},
		"packages undone, dpkg": {func(b *bad) {
			b.add(entry{name: "usr/share/doc/bash/copyright", data: "GPL"}, entry{name: "var/lib/dpkg/status", data: "Package: bash\nStatus: install ok installed\n\nPackage: gcc\nStatus: install ok installed\n\n"})
			b.top(entry{name: "var/lib/dpkg/status", data: "Package: bash\nStatus: install ok installed\n\nPackage: gcc\nStatus: deinstall ok config-files\n\n"})
		}, []string{PackagesUndone}, "", ""},
		"packages added": {func(b *bad) {
			b.add(entry{name: "lib/apk/db/installed", data: "P:musl\nV:1\n\n"})
			b.top(entry{name: "lib/apk/db/installed", data: "P:musl\nV:1\n\nP:curl\nV:1\n\n"})
		}, nil, "", ""},
		"empty layer": {func(b *bad) { b.top() }, []string{EmptyLayer}, "", ""},
		"many layers": {func(b *bad) {
			for i := range 100 {
				b.top(entry{name: fmt.Sprintf("opt/%d", i), data: "x"})
			}
		}, []string{ManyLayers}, "", ""},
		"git directory": {func(b *bad) {
			b.add(entry{name: "opt/app/.git/"}, entry{name: "opt/app/.git/HEAD", data: "ref: refs/heads/main"})
		}, []string{Leftovers}, "", "/opt/app/.git"},
		"unpacked archive": {func(b *bad) { b.add(entry{name: "opt/gcc.tar.gz", data: "x"}) }, []string{Leftovers}, "", ""},
		"core dump":        {func(b *bad) { b.add(entry{name: "core.123", data: "x"}) }, []string{Leftovers}, "", ""},

		"private key":           {func(b *bad) { b.add(entry{name: "etc/ssl/private/site.pem", data: "# mine\n" + key}) }, []string{PrivateKey}, key[40:80], "/etc/ssl/private/site.pem"},
		"private key in a text": {func(b *bad) { b.add(entry{name: "opt/app/conf", data: big[:5<<20-4096*1024+100] + "\n" + key}) }, []string{PrivateKey}, key[40:80], ""},
		"private key deleted": {func(b *bad) {
			b.add(entry{name: "root/id", data: key})
			b.top(entry{name: "root/.wh.id"})
		}, []string{PrivateKey}, key[40:80], "/root/id"},
		"words of a key": {func(b *bad) {
			b.add(entry{name: "opt/app/help", data: "looks for -----BEGIN PRIVATE" + " KEY----- in files"})
		}, nil, "", ""},
		"key store":       {func(b *bad) { b.add(entry{name: "opt/app/x.p12", data: "\x30\x82\x00"}) }, []string{PrivateKey}, "", ""},
		"host key":        {func(b *bad) { b.add(entry{name: "etc/ssh/ssh_host_ed25519_key", data: key}) }, []string{HostKey}, key[40:80], ""},
		"authorized keys": {func(b *bad) { b.add(entry{name: "root/.ssh/authorized_keys", data: "ssh-ed25519 AAAA me\n"}) }, []string{AuthorizedKeys}, "", ""},
		"netrc":           {func(b *bad) { b.add(entry{name: "root/.netrc", data: "machine x login y password " + letters(12)}) }, []string{CredentialFile}, letters(12), "/root/.netrc"},
		"npmrc":           {func(b *bad) { b.add(entry{name: "root/.npmrc", data: "//r.example/:_authToken=" + letters(30)}) }, []string{CredentialFile}, letters(30), ""},
		"npmrc, harmless": {func(b *bad) { b.add(entry{name: "root/.npmrc", data: "//r.example/:_authToken=${NPM_TOKEN}"}) }, nil, "", ""},
		"docker config": {func(b *bad) {
			b.add(entry{name: "root/.docker/config.json", data: `{"auths":{"r":{"auth":"` + letters(20) + `"}}}`})
		}, []string{CredentialFile}, letters(20), ""},
		"docker helpers": {func(b *bad) {
			b.add(entry{name: "root/.docker/config.json", data: `{"auths":{"r":{}},"credsStore":"pass"}`})
		}, nil, "", ""},
		"git credentials": {func(b *bad) {
			b.add(entry{name: "root/.git-credentials", data: "https://me:" + letters(12) + "@git.example"})
		}, []string{CredentialFile}, letters(12), ""},
		"aws credentials": {func(b *bad) {
			b.add(entry{name: "root/.aws/credentials", data: "aws_secret_access_key = " + letters(40)})
		}, []string{CredentialFile}, letters(40), ""},
		"apt auth": {func(b *bad) {
			b.add(entry{name: "etc/apt/auth.conf.d/x.conf", data: "machine r login l password " + letters(9)})
		}, []string{CredentialFile}, letters(9), ""},
		"dot env":         {func(b *bad) { b.add(entry{name: "opt/app/.env", data: "DB_PASSWORD=" + letters(9)}) }, []string{CredentialFile}, letters(9), ""},
		"token in a file": {func(b *bad) { b.add(entry{name: "opt/app/settings.ini", data: "x=" + glpat}) }, []string{TokenInFile}, glpat, ""},
		"token far down":  {func(b *bad) { b.add(entry{name: "opt/app/log.txt", data: big[:1<<20-10] + "\n" + glpat}) }, []string{TokenInFile}, glpat, ""},
		"aws key": {func(b *bad) {
			b.add(entry{name: "opt/app/s3.cfg", data: "id " + "AKIA" + strings.ToUpper(letters(16))})
		}, []string{TokenInFile}, "", ""},
		"url password": {func(b *bad) {
			b.add(entry{name: "etc/pip.conf", data: "index-url = https://me:" + letters(12) + "@pypi.example/simple"})
		}, []string{TokenInFile}, letters(12), ""},
		"url, an example": {func(b *bad) {
			b.add(entry{name: "etc/x.conf", data: "# http://user:pass" + "word@proxy/ or http://$USER:$PASS@proxy/"})
		}, nil, "", ""},
		"password hash": {func(b *bad) {
			b.add(entry{name: "etc/shadow-", data: "root:$6$" + letters(16) + "$x:1::::::\n", mode: 0o640})
		}, []string{PasswordHash}, letters(16), ""},
		"no password":   {func(b *bad) { b.add(entry{name: "etc/shadow-", data: "root::1::::::\n", mode: 0o640}) }, []string{NoPassword}, "", ""},
		"secret in env": {func(b *bad) { b.config.Config.Env = append(b.config.Config.Env, "DB_PASSWORD="+letters(12)) }, []string{SecretInEnv}, letters(12), ""},
		"token in env":  {func(b *bad) { b.config.Config.Env = append(b.config.Config.Env, "X="+glpat) }, []string{SecretInEnv}, glpat, ""},
		"no secret in env": {func(b *bad) {
			b.config.Config.Env = append(b.config.Config.Env, "TOKEN_FILE=/run/secrets/t", "ASK_PASSWORD=true", "API_KEY=", "SECRET=$OTHER")
		}, nil, "", ""},
		"secret in label":      {func(b *bad) { b.config.Config.Labels["deploy.token"] = letters(20) }, []string{SecretInLabel}, letters(20), ""},
		"secret in annotation": {func(b *bad) { b.notes = map[string]string{"note": glpat} }, []string{SecretInLabel}, glpat, ""},
		"secret in history": {func(b *bad) {
			b.history = []v1.History{{CreatedBy: "RUN |1 NPM_TOKEN=" + letters(20) + " /bin/sh -c npm ci"}}
		}, []string{SecretInHistory}, letters(20), ""},
		"password option in history": {func(b *bad) {
			b.history = []v1.History{{CreatedBy: "RUN mysql --password=" + letters(10) + " x"}}
		}, []string{SecretInHistory}, letters(10), ""},
		"made by hand": {func(b *bad) { b.history = []v1.History{{CreatedBy: "/bin/bash"}} }, []string{MadeByHand}, "", ""},
		"no history":   {func(b *bad) { b.history = []v1.History{} }, []string{MadeByHand}, "", ""},

		"frontend":    {func(b *bad) { b.config.Config.Env = append(b.config.Config.Env, "DEBIAN_FRONTEND=noninteractive") }, []string{FrontendKept}, "", ""},
		"no labels":   {func(b *bad) { b.config.Config.Labels = nil }, []string{MissingLabel, MissingOrigin, MissingLicenses, MissingHelp}, "", ""},
		"no title":    {func(b *bad) { delete(b.config.Config.Labels, ociLabel+"title") }, []string{MissingLabel}, "", ""},
		"bad licence": {func(b *bad) { b.config.Config.Labels[ociLabel+"licenses"] = "see the file" }, []string{MissingLicenses}, "", ""},
		"help file": {func(b *bad) {
			delete(b.config.Config.Labels, ociLabel+"documentation")
			b.add(entry{name: ".singularity.d/runscript.help", data: "run it"})
		}, nil, "", ""},
		"root user":       {func(b *bad) { b.config.Config.User = "" }, []string{RootUser}, "", ""},
		"unknown user":    {func(b *bad) { b.config.Config.User = "nobody-knows" }, []string{UnknownUser}, "", ""},
		"shell form":      {func(b *bad) { b.config.Config.Entrypoint = []string{"/bin/sh", "-c", "/opt/app/run --fast"} }, []string{ShellForm}, "", ""},
		"shell with exec": {func(b *bad) { b.config.Config.Entrypoint = []string{"/bin/sh", "-c", "umask 022; exec /opt/app/run"} }, nil, "", ""},
		"no init":         {func(b *bad) { b.config.Config.ExposedPorts = map[string]struct{}{"8080/tcp": {}} }, []string{NoInit}, "", ""},
		"an init": {func(b *bad) {
			b.config.Config.ExposedPorts = map[string]struct{}{"8080/tcp": {}}
			b.config.Config.Entrypoint = []string{"/usr/bin/tini", "--", "/opt/app/run"}
		}, nil, "", ""},
		"supervisor": {func(b *bad) { b.config.Config.Entrypoint = []string{"/usr/bin/supervisord"} }, []string{SeveralServices}, "", ""},
		"ssh port": {func(b *bad) {
			b.config.Config.ExposedPorts = map[string]struct{}{"22/tcp": {}}
			b.config.Config.StopSignal = "SIGTERM"
		}, []string{SSHPort}, "", ""},
		"system volume": {func(b *bad) { b.config.Config.Volumes = map[string]struct{}{"/etc/app": {}, "/var/lib/app": {}} }, []string{SystemVolume}, "", ""},
		"environment":   {func(b *bad) { b.add(entry{name: "etc/environment", data: "PATH=/usr/bin\nJAVA_HOME=/opt/java\n"}) }, []string{EnvInFile}, "", ""},
		"bad path":      {func(b *bad) { b.config.Config.Env = []string{"PATH=/usr/bin:.:/bin"} }, []string{BadPath}, "", ""},
		"end of life": {func(b *bad) {
			b.add(entry{name: "usr/lib/os-release", data: "x"})
			b.layers[0][4].data = strings.ReplaceAll(osRelease, "12", "9")
		}, []string{EndOfLife}, "", ""},
		"centos 8":    {func(b *bad) { b.layers[0][4].data = "NAME=\"CentOS Linux\"\nID=\"centos\"\nVERSION_ID=\"8\"\n" }, []string{EndOfLife}, "", ""},
		"stream 9":    {func(b *bad) { b.layers[0][4].data = "NAME=\"CentOS Stream\"\nID=\"centos\"\nVERSION_ID=\"9\"\n" }, nil, "", ""},
		"alpine 3.18": {func(b *bad) { b.layers[0][4].data = "ID=alpine\nVERSION_ID=3.18.4\n" }, []string{EndOfLife}, "", ""},

		"home":            {func(b *bad) { b.add(entry{name: "home/app/"}, entry{name: "home/app/data", data: "x"}) }, []string{BoundDirectory}, "", "/home/app"},
		"tmp":             {func(b *bad) { b.add(entry{name: "tmp/install.log", data: "x"}) }, []string{BoundDirectory}, "", "/tmp/install.log"},
		"att":             {func(b *bad) { b.add(entry{name: "att/nobackup/me/x", data: "x"}) }, []string{BoundDirectory}, "", "/att/nobackup"},
		"workdir in home": {func(b *bad) { b.config.Config.WorkingDir = "/home/app" }, []string{BoundDirectory}, "", ""},
		"sudo":            {func(b *bad) { b.add(entry{name: "usr/bin/sudo", data: "\x7fELF\x00", mode: 0o755}) }, []string{NeedlessTool}, "", "/usr/bin/sudo"},
		"netcat by a link": {func(b *bad) {
			b.add(entry{name: "bin", link: "usr/bin"}, entry{name: "usr/bin/nc.openbsd", data: "\x7fELF\x00", mode: 0o755},
				entry{name: "etc/alternatives/nc", link: "/bin/nc.openbsd"}, entry{name: "usr/bin/nc", link: "/etc/alternatives/nc"})
		}, []string{NeedlessTool}, "", ""},
		"busybox": {func(b *bad) {
			b.add(entry{name: "usr/bin/busybox", data: "\x7fELF\x00", mode: 0o755}, entry{name: "usr/bin/nc", link: "busybox"}, entry{name: "usr/bin/telnet", hard: "usr/bin/busybox"})
		}, nil, "", ""},
		"setuid": {func(b *bad) { b.add(entry{name: "usr/local/bin/be-root", data: "\x7fELF\x00", mode: 0o4755}) }, []string{SetuidUnexpected}, "", "/usr/local/bin/be-root"},
		"setgid": {func(b *bad) { b.add(entry{name: "usr/bin/mailer", data: "\x7fELF\x00", mode: 0o2755}) }, []string{SetuidUnexpected}, "", ""},
		"setuid, as shipped": {func(b *bad) {
			b.add(entry{name: "bin/mount", data: "\x7fELF\x00", mode: 0o4755}, entry{name: "usr/lib/x86_64-linux-gnu/utempter/utempter", data: "\x7f", mode: 0o2755})
		}, nil, "", ""},
		"capability":          {func(b *bad) { b.add(entry{name: "opt/app/bind", data: "\x7fELF\x00", mode: 0o755, xattr: true}) }, []string{CapabilityFile}, "", ""},
		"capability, shipped": {func(b *bad) { b.add(entry{name: "bin/ping", data: "\x7fELF\x00", mode: 0o755, xattr: true}) }, nil, "", ""},
		"world-writable file": {func(b *bad) { b.add(entry{name: "opt/app/conf", data: "x", mode: 0o666}) }, []string{WorldWritable}, "", "/opt/app/conf"},
		"world-writable tree": {func(b *bad) {
			b.add(entry{name: "opt/app/spool/", mode: 0o777}, entry{name: "opt/app/spool/a", data: "x", mode: 0o666})
		}, []string{WorldWritable}, "", "/opt/app/spool"},
		"user's file":   {func(b *bad) { b.add(entry{name: "usr/lib/x", data: "x", uid: 1000}) }, []string{UserOwned}, "", "/usr/lib/x"},
		"unknown owner": {func(b *bad) { b.add(entry{name: "srv/x", data: "x", uid: 501}) }, []string{UnknownOwner}, "", "/srv/x"},
		"unknown group": {func(b *bad) { b.add(entry{name: "srv/x", data: "x", gid: 77}) }, []string{UnknownOwner}, "", "/srv/x"},
		"broken link":   {func(b *bad) { b.add(entry{name: "usr/bin/tool", link: "../lib/gone"}) }, []string{BrokenLink}, "", "/usr/bin/tool"},
		"device":        {func(b *bad) { b.add(entry{name: "dev/null", dev: true, mode: 0o666}) }, []string{DeviceNode}, "", "/dev/null"},
		"machine id":    {func(b *bad) { b.add(entry{name: "etc/machine-id", data: strings.Repeat("ab", 16) + "\n"}) }, []string{MachineID}, "", ""},
		"no copyright": {func(b *bad) {
			b.add(entry{name: "var/lib/dpkg/status", data: "Package: bash\nStatus: install ok installed\n\nPackage: gone\nStatus: deinstall ok config-files\n\n"})
		}, []string{CopyrightMissing}, "", ""},
		"no licences of rpm": {func(b *bad) { b.add(entry{name: "var/lib/rpm/rpmdb.sqlite", data: "x"}) }, []string{CopyrightMissing}, "", ""},
		"trusted=yes": {func(b *bad) {
			b.add(entry{name: "etc/apt/sources.list", data: "deb [arch=amd64 trusted=yes] http://m/d x main\n"})
		}, []string{SignaturesOff}, "", ""},
		"gpgcheck=0": {func(b *bad) { b.add(entry{name: "etc/yum.repos.d/x.repo", data: "[x]\nenabled=1\ngpgcheck=0\n"}) }, []string{SignaturesOff}, "", ""},
		"gpgcheck=0, off": {func(b *bad) {
			b.add(entry{name: "etc/yum.repos.d/x.repo", data: "[x]\nenabled=0\ngpgcheck=0\n[y]\ngpgcheck=1\n"})
		}, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := sound()
			c.plant(b)
			fs := look(t, b, ImageOptions{})
			want := slices.Clone(c.want)
			slices.Sort(want)
			if got := rulesOf(fs); !slices.Equal(got, want) {
				t.Errorf("found %v, want %v", got, want)
				for _, f := range fs {
					t.Logf("%s %s: %s", f.Rule, f.Subject, f.Message)
				}
			}
			j, err := json.Marshal(fs)
			if err != nil {
				t.Fatal(err)
			}
			if c.secret != "" && strings.Contains(string(j), c.secret) {
				t.Errorf("the secret is repeated: %s", j)
			}
			if c.path != "" && (len(fs) == 0 || fs[0].Path != c.path) {
				t.Errorf("path is not %s: %s", c.path, j)
			}
			for _, f := range fs {
				if f.Message == "" || f.Fix == "" || f.Subject == "" || f.Fingerprint == "" || len(f.Platforms) != 1 {
					t.Errorf("incomplete: %+v", f)
				}
			}
		})
	}
}

// What a step of a definition made is told by its author's line, layer by layer.
func TestLines(t *testing.T) {
	img := pipelines.From(amd64(), pipelines.Scratch{}).Then(
		pipelines.File{Path: "/etc/ok"},
		pipelines.File{Path: "/opt/open", Mode: 0o666, Data: []byte("x")},
	)
	img = img.Then(pipelines.Run{Shell: "chmod u+s /opt/be-root; true"})
	g, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	b := sound()
	b.top(entry{name: "opt/open", data: "x", mode: 0o666})
	b.top(entry{name: "opt/be-root", data: "x", mode: 0o4755})
	b.history = []v1.History{{CreatedBy: "cfbuild bootstrap deb"}, {CreatedBy: "file /etc/ok; file /opt/open", Comment: "cfbuild"},
		{CreatedBy: "configure env", Comment: "cfbuild", EmptyLayer: true}, {CreatedBy: "run chmod u+s /opt/be-root; true", Comment: "cfbuild"}}
	fs := look(t, b, ImageOptions{Graph: g})
	lines := map[string]string{}
	for _, f := range fs {
		lines[f.Rule] = fmt.Sprintf("%s|%t|%s", f.Step, f.Where.File != "", f.Subject)
	}
	want := map[string]string{WorldWritable: "file /opt/open|true|/opt/open", SetuidUnexpected: "run chmod u+s /opt/be-root; true|true|/opt/be-root"}
	for rule, w := range want {
		if lines[rule] != w {
			t.Errorf("%s: %q, want %q", rule, lines[rule], w)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%v", lines)
	}
}

// A directory that later layers state again belongs to the layer that opened it.
func TestOrigin(t *testing.T) {
	b := sound()
	b.top(entry{name: "opt/", mode: 0o777}, entry{name: "opt/a", data: "x"})
	b.top(entry{name: "opt/", mode: 0o777}, entry{name: "opt/b", data: "x"})
	b.history = []v1.History{{CreatedBy: "RUN one"}, {CreatedBy: "RUN two"}, {CreatedBy: "RUN three"}}
	fs := look(t, b, ImageOptions{})
	if len(fs) != 1 || fs[0].Step != "RUN two" {
		t.Errorf("%+v", fs)
	}
}

func BenchmarkImage(b *testing.B) {
	img := sound()
	text := strings.Repeat("a line of a program's text, such as scripts and modules have it = 1\n", 300)
	var es []entry
	for i := range 5000 { // 100 MB of text, 100 MB of programs
		es = append(es, entry{name: fmt.Sprintf("usr/lib/t/%d.py", i), data: text}, entry{name: fmt.Sprintf("usr/lib/b/%d.so", i), data: "\x7fELF\x00" + text})
	}
	img.add(es...)
	l, d := img.write(b)
	for b.Loop() {
		if _, err := Image(b.Context(), l, d, ImageOptions{Name: "bench", Now: today}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(200 << 20)
}
