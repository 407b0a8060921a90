package builderstest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/pipelines"
)

var runCases = []testCase{
	{"a step that changes nothing", func(t *testing.T, s *suite) {
		base := s.build(t, s.image())
		got := s.build(t, s.image().Then(pipelines.Run{Args: []string{"true"}}, pipelines.Run{Shell: "cat /etc/conf; ls -l /srv; touch /tmp/x; rm /tmp/x; chmod 600 /opt/one; chmod 644 /opt/one"}))
		if d := listing.Diff(base.entries, got.entries); len(d) > 0 {
			t.Errorf("changed: %q", d)
		}
		got.events.balanced(t)
	}},
	{"environment, directory and user", func(t *testing.T, s *suite) {
		got := s.build(t, s.image().Then(
			pipelines.Configure{Env: map[string]string{"FROM_IMAGE": "i"}, WorkingDir: "/srv"},
			pipelines.Run{Shell: `echo "$KEEP|$FROM_IMAGE|$MINE|$PATH|$HOME|$SOURCE_DATE_EPOCH|$(pwd)|$(id -u):$(id -g)|$(umask)" > /root-says`, Env: map[string]string{"MINE": "m", "KEEP": "mine"}},
			pipelines.Run{Shell: `echo "$MINE|$HOME|$(pwd)|$(id -u):$(id -g)|$(id -G)" > /home/user/says; touch own`, User: "user", Dir: "/home/user"},
			pipelines.Run{Shell: `echo "$(id -u):$(id -g)" > /tmp/numbers`, User: "12:34"},
			pipelines.Run{Shell: `echo "$(id -u):$(id -g)" > /tmp/named`, User: "user:extra"},
			pipelines.Run{Shell: "pwd > made", Dir: "/not/there/yet"},
			pipelines.Configure{User: "1000"},
			pipelines.Run{Shell: "id -u > /tmp/default"},
		))
		got.content(t, "root-says", fmt.Sprintf("mine|i|m|/bin|/root|%d|/srv|0:0|0022\n", epoch.Unix()))
		got.content(t, "home/user/says", "|/home/user|/home/user|1000:1000|1000 1234\n")
		got.content(t, "tmp/numbers", "12:34\n")
		got.content(t, "tmp/named", "1000:1234\n")
		got.content(t, "not/there/yet/made", "/not/there/yet\n")
		got.content(t, "tmp/default", "1000\n")
		got.want(t, "home/user/own file 0644 1000:1000", "tmp/numbers file 0644 12:34")
		for _, e := range got.config.Config.Env {
			if strings.HasPrefix(e, "MINE=") || strings.HasPrefix(e, "SOURCE_DATE_EPOCH=") || strings.HasPrefix(e, "HOME=") {
				t.Errorf("the step's %s is in the image", e)
			}
		}
	}},
	{"args are no shell, a script may be long", func(t *testing.T, s *suite) {
		got := s.build(t, s.image().Then(
			pipelines.Run{Args: []string{"sh", "-c", `printf '%s,' "$@" > /args`, "name", "a b", "$HOME", ""}},
			pipelines.Run{Shell: "# " + strings.Repeat("long ", 40000) + "\necho end > /long"},
			pipelines.Run{Shell: "false || true\necho \"it's\" > /quote"},
		))
		got.content(t, "args", "a b,$HOME,,")
		got.content(t, "long", "end\n")
		got.content(t, "quote", "it's\n")
	}},
	{"what steps find", func(t *testing.T, s *suite) {
		sysfs := "test -e /sys/class"
		if !s.caps.Sysfs {
			sysfs = "true"
		}
		got := s.build(t, s.image().Then(pipelines.Run{Shell: sysfs + `
			test -w /dev/null; head -c 8 /dev/zero | wc -c > /zero; head -c 4 /dev/urandom > /dev/null
			test -d /proc/self; test -d /dev/pts; echo x > /dev/shm/x; test -L /dev/stdout
			echo out > /dev/stdout; echo err > /dev/stderr; test ! -s /dev/stdin
			test -s /etc/hosts; hostname > /dev/null; test ! -e /run/.containerenv
			if echo 1 > /proc/sys/kernel/printk; then exit 9; fi 2>/dev/null
			ps | wc -l > /processes`}))
		got.content(t, "zero", "8\n")
		got.want(t, "- etc/hosts", "- etc/resolv.conf", "- proc", "- sys", "- run", "dev/console char 0600 0:0", "- dev/null")
		if log := got.events.log(); !strings.Contains(log, "out\n") || !strings.Contains(log, "err\n") {
			t.Errorf("log %q", log)
		}
	}},
	{"owners, modes and kinds a step makes", func(t *testing.T, s *suite) {
		got := s.build(t, s.image().Then(pipelines.Run{Shell: `
			mkdir /made; cd /made
			touch f; chown 1000:1234 f; chmod 6751 f; ln f g; ln -s f h; mkfifo p; chmod 0700 /made
			touch -d '2001-02-03 00:00:00' old; ln /opt/one linked; chmod 0000 p; chown 65534 .`}))
		got.want(t, "made dir 0700 65534:0", "made/f file 6751 1000:1234", "made/g file 6751 1000:1234 = made/f", "made/h symlink 0777 0:0 -> f", "made/p fifo 0000 0:0")
		if e, _ := listing.Find(got.entries, "made/old"); e.Time != time.Date(2001, 2, 3, 0, 0, 0, 0, time.UTC).Unix() {
			t.Errorf("an old time stamp was changed: %d", e.Time)
		}
		// The file below has two names; a new one may go with either.
		one, _ := listing.Find(got.entries, "opt/one")
		two, _ := listing.Find(got.entries, "opt/two")
		if s.caps.Links && one.Same != "made/linked" && two.Same != "made/linked" {
			t.Errorf("hard link to a file below lost: %s, %s", one, two)
		}
		if late := listing.Late(got.entries, epoch); len(late) > 0 {
			t.Errorf("later than the epoch: %v", late)
		}
	}},
	{"what a step leaves running ends with it", func(t *testing.T, s *suite) {
		mark := fmt.Sprint(900000 + os.Getpid())
		s.build(t, s.image().Then(pipelines.Run{Shell: "sleep " + mark + " & (setsid sleep " + mark + " &) ; echo started"}))
		noProcess(t, mark)
	}},
	{"network none", func(t *testing.T, s *suite) {
		if !s.caps.NetworkNone {
			t.Skip("declared: no network none")
		}
		addr := listen(t)
		got := s.build(t, s.image().Then(pipelines.Run{Network: pipelines.NetworkNone, Shell: `
			test ! -e /sys/class || ls /sys/class/net > /dev/null
			tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | grep -v -e ^lo$ -e ^sit0$ -e ^tunl0$ -e ^ip6tnl0$ -e ^gre0$ -e ^gretap0$ -e ^erspan0$ -e ^ip_vti0$ -e ^ip6_vti0$ -e ^ip6gre0$ > /interfaces || true
			ping -c 1 -W 2 127.0.0.1 > /dev/null 2>&1 || true
			if wget -q -O - http://` + addr + `/ 2> /dev/null; then echo reached > /reached; fi`}))
		got.content(t, "interfaces", "")
		got.want(t, "- reached")
	}},
	{"network host", func(t *testing.T, s *suite) {
		addr := listen(t)
		got := s.build(t, s.image().Then(pipelines.Run{Shell: "wget -q -O /answer http://" + addr + "/"}))
		got.content(t, "answer", "hello")
	}},
	{"secrets", func(t *testing.T, s *suite) {
		if !s.caps.Secrets {
			t.Skip("declared: no secrets")
		}
		const value, other = "s3cr3t-Value-in-a-file", "s3cr3t-Value-in-a-variable"
		with := func(r *builders.Request) {
			r.Secrets = map[string][]byte{"tok": []byte(value + "\n"), "var": []byte(other)}
		}
		img := s.image().Then(
			pipelines.Run{Shell: `test "$(cat /run/secrets/tok)" = ` + "s3cr3t-'Value'-in-a-file" + `; stat -c %a:%u /run/secrets/tok > /stat; wc -c < /run/secrets/tok > /size; cat /run/secrets/tok; echo "$TOKEN"`,
				Secrets: []pipelines.Secret{{ID: "tok"}, {ID: "var", Env: "TOKEN"}}},
			pipelines.Run{Shell: `test -r /etc/deep/er/token; stat -c %a:%u /etc/deep/er/token > /home/user/stat; test ! -e /run/secrets/gone; test -z "$TOKEN"`, User: "user",
				Secrets: []pipelines.Secret{{ID: "tok", Target: "/etc/deep/er/token", Mode: 0o440}, {ID: "gone", Optional: true}}},
		)
		got := s.build(t, img, with)
		got.content(t, "size", fmt.Sprintln(len(value)+1))
		got.content(t, "stat", "400:0\n")
		got.content(t, "home/user/stat", "440:1000\n")
		got.want(t, "- run", "- etc/deep")
		for _, secret := range []string{value, other} {
			nowhere(t, got.layout.Dir(), secret)
			for _, e := range got.events.all() {
				if strings.Contains(fmt.Sprintf("%+v", e), secret) {
					t.Errorf("a secret is in an event: %+v", e)
				}
			}
		}
		// Another value is no reason to run the step again.
		if again := s.build(t, img, func(r *builders.Request) {
			r.Secrets = map[string][]byte{"tok": []byte("x"), "var": []byte("y")}
		}); again.Ran != 0 {
			t.Errorf("%d steps ran again", again.Ran)
		}
	}},
	{"cache mounts", func(t *testing.T, s *suite) {
		if !s.caps.CacheMounts {
			t.Skip("declared: no cache mounts")
		}
		b := s.open(t)
		cache := []pipelines.CacheMount{{ID: "shared", Target: "/var/cache/thing"}}
		first := buildWith(t, b, s.image().Then(pipelines.Run{Shell: "echo one > /var/cache/thing/kept", Caches: cache}))
		first.want(t, "- var")
		second := buildWith(t, b, s.image().Then(pipelines.Run{Shell: "cat /else/kept > /found; test ! -e /opt/kept", Caches: []pipelines.CacheMount{{ID: "shared", Target: "/else"}, {Target: "/opt"}}}))
		second.content(t, "found", "one\n")
		second.want(t, "- else", "opt/suid file 4755 0:0")
	}},
}

// listen answers "hello" over HTTP on the loopback interface.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 1024)
				if _, err := c.Read(buf); err == nil {
					fmt.Fprint(c, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
				}
			}()
		}
	}()
	return l.Addr().String()
}

// noProcess waits until no process of this machine has the mark in its arguments.
func noProcess(t *testing.T, mark string) {
	t.Helper()
	var found string
	for range 50 {
		found = ""
		all, err := filepath.Glob("/proc/[0-9]*/cmdline")
		check(t, err)
		for _, p := range all {
			if b, err := os.ReadFile(p); err == nil && bytes.Contains(b, []byte(mark)) {
				found = p + ": " + string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
			}
		}
		if found == "" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("still running: %s", found)
}

// nowhere looks for a value in every file below a directory, also compressed.
func nowhere(t *testing.T, dir, value string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			if plain, err := io.ReadAll(z); err == nil {
				b = append(b, plain...)
			}
		}
		if bytes.Contains(b, []byte(value)) {
			t.Errorf("a secret is in %s", p)
		}
		return nil
	}))
}
