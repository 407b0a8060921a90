package builderstest

import (
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/pipelines"
)

var opCases = []testCase{
	{"image without steps is passed on", func(t *testing.T, s *suite) {
		got := s.build(t, s.image())
		if got.Digest != s.base.Digest {
			t.Errorf("got %s, want the base's own %s", got.Digest, s.base.Digest)
		}
	}},
	{"base layers are passed on as they are", func(t *testing.T, s *suite) {
		base := s.build(t, s.image())
		got := s.build(t, s.image().Then(pipelines.File{Path: "/x"}))
		if len(got.manifest.Layers) != 2 || got.manifest.Layers[0].Digest != base.manifest.Layers[0].Digest {
			t.Errorf("layers %v, want the base's and one more", got.manifest.Layers)
		}
		if d := listing.Diff(base.entries, got.entries); len(d) != 1 || !strings.HasPrefix(d[0], "+ x file 0644 0:0 0 ") {
			t.Errorf("one file changed more: %q", d)
		}
	}},
	{"file", func(t *testing.T, s *suite) {
		got := s.build(t, pipelines.From(s.p, pipelines.Scratch{}).Then(
			pipelines.File{Path: "/a/b/c", Data: []byte("hello\n")},
			pipelines.File{Path: "/plain", Mode: 0o600, Owner: "12:34"},
			pipelines.File{Path: "/suid", Mode: 0o4755, Owner: "5:6", Data: []byte("x")},
			pipelines.File{Path: "/dir", Dir: true},
			pipelines.File{Path: "/sticky", Dir: true, Mode: 0o1777, Owner: "7:8"},
			pipelines.File{Path: "/link", Link: "a/b/c", Owner: "9:9"},
			pipelines.File{Path: "/dir/through", Data: []byte("1")},
			pipelines.File{Path: "/to", Link: "dir"},
			pipelines.File{Path: "/to/linked", Data: []byte("2")},
			pipelines.File{Path: "/up", Link: "../../.."},
			pipelines.File{Path: "/up/contained", Data: []byte("3")},
			pipelines.File{Path: "/plain2", Data: []byte("first")},
			pipelines.File{Path: "/plain2", Data: []byte("second"), Mode: 0o755},
			pipelines.File{Path: "/link2", Link: "nowhere"},
			pipelines.File{Path: "/link2", Data: []byte("a file now")},
			pipelines.File{Path: "/" + strings.Repeat("long/", 60) + "näme with spaces\nand newline", Data: []byte("4")},
		))
		got.want(t, "a dir 0755 0:0", "a/b dir 0755 0:0", "a/b/c file 0644 0:0", "plain file 0600 12:34 0",
			"suid file 4755 5:6", "dir dir 0755 0:0", "sticky dir 1777 7:8", "link symlink 0777 9:9 -> a/b/c",
			"dir/linked file 0644 0:0", "contained file 0644 0:0", "plain2 file 0755 0:0 6", "link2 file 0644 0:0")
		got.content(t, "a/b/c", "hello\n")
		got.content(t, "plain2", "second")
		got.content(t, strings.Repeat("long/", 60)+"näme with spaces\nand newline", "4")
		if late := listing.Late(got.entries, epoch); len(late) > 0 {
			t.Errorf("later than the epoch: %v", late)
		}
	}},
	{"directory keeps what is in it", func(t *testing.T, s *suite) {
		got := s.build(t, s.image().Then(pipelines.File{Path: "/srv", Dir: true, Mode: 0o700, Owner: "4:4"}))
		got.want(t, "srv dir 0700 4:4", "srv/data file 0600 9:9", "srv/deep/er/file file 0644 0:0")
	}},
	{"remove", func(t *testing.T, s *suite) {
		got := s.build(t, s.image().Then(
			pipelines.Remove{Paths: []string{"/srv/deep", "/nowhere/at/all", "/opt/o*", "/opt/link"}},
			pipelines.Remove{Paths: []string{"/opt/dirlink/data"}},
		))
		got.want(t, "- srv/deep", "- srv/deep/er/file", "- opt/one", "- opt/link", "- srv/data", "srv dir 0755 0:0",
			"opt/dirlink symlink 0777 0:0 -> /srv", "opt/two file 0644 0:0")
		got.content(t, "opt/two", "shared")
	}},
	{"removed and made again", func(t *testing.T, s *suite) {
		got := s.build(t, s.image().Then(
			pipelines.Remove{Paths: []string{"/srv", "/etc/conf", "/opt/one"}},
			pipelines.File{Path: "/srv", Data: []byte("a file now")},
			pipelines.File{Path: "/etc/conf", Dir: true},
			pipelines.File{Path: "/opt/one", Link: "elsewhere"},
		))
		got.want(t, "srv file 0644 0:0", "- srv/data", "etc/conf dir 0755 0:0", "opt/one symlink 0777 0:0 -> elsewhere", "opt/two file 0644 0:0")
		again := s.build(t, s.image().Then(
			pipelines.Remove{Paths: []string{"/srv"}},
			pipelines.File{Path: "/srv/deep/only", Data: []byte("x")},
		))
		again.want(t, "srv/deep/only file 0644 0:0", "- srv/data", "- srv/deep/er", "srv/deep dir 0755 0:0")
	}},
	{"removed and made again over several layers", func(t *testing.T, s *suite) {
		got := s.build(t, s.image().Then(
			pipelines.Run{Shell: "rm -r /srv && mkdir -p /srv/deep && echo new > /srv/deep/new && mv /etc/conf /etc/moved"},
			pipelines.Run{Shell: "echo again > /etc/conf && rm /srv/deep/new && rmdir /srv/deep && ln -s /opt /srv/deep"},
			pipelines.Run{Shell: "test ! -e /srv/data && test -e /srv/deep/suid && mkdir /srv/data && echo x > /srv/data/x"},
		))
		got.want(t, "srv/deep symlink 0777 0:0 -> /opt", "- srv/deep/new", "- srv/deep/er", "srv/data dir 0755 0:0", "srv/data/x file 0644 0:0",
			"etc/moved file 0640 3:3", "etc/conf file 0644 0:0")
		got.content(t, "etc/conf", "again\n")
	}},
	{"configure", func(t *testing.T, s *suite) {
		got := s.build(t, s.image().Then(
			pipelines.Configure{Env: map[string]string{"KEEP": "changed", "NEW": "a b=c"}, Labels: map[string]string{"who": "me"}, User: "1000:1000",
				WorkingDir: "/srv", StopSignal: "SIGINT", Volumes: []string{"/data"}, ExposedPorts: []string{"80", "53/udp"}, Author: "somebody"},
			pipelines.Configure{Entrypoint: []string{"/bin/echo"}, Volumes: []string{"/more"}},
		))
		c := got.config.Config
		if !slices.Equal(c.Env, []string{"PATH=/bin", "KEEP=changed", "NEW=a b=c"}) {
			t.Errorf("env %q", c.Env)
		}
		if c.Labels["base"] != "yes" || c.Labels["who"] != "me" || len(c.Labels) != 2 {
			t.Errorf("labels %v", c.Labels)
		}
		if !slices.Equal(c.Entrypoint, []string{"/bin/echo"}) || !slices.Equal(c.Cmd, []string{"/bin/sh"}) {
			t.Errorf("entrypoint %q, cmd %q", c.Entrypoint, c.Cmd)
		}
		_, v1 := c.Volumes["/data"]
		_, v2 := c.Volumes["/more"]
		_, p1 := c.ExposedPorts["80/tcp"]
		_, p2 := c.ExposedPorts["53/udp"]
		if !v1 || !v2 || !p1 || !p2 || c.User != "1000:1000" || c.WorkingDir != "/srv" || c.StopSignal != "SIGINT" || got.config.Author != "somebody" {
			t.Errorf("config %+v, author %q", c, got.config.Author)
		}
		if got.config.Created == nil || !got.config.Created.Equal(epoch) {
			t.Errorf("created %v, want %v", got.config.Created, epoch)
		}
		if len(got.manifest.Layers) != 1 {
			t.Errorf("%d layers, want the base's alone", len(got.manifest.Layers))
		}
	}},
	{"scratch alone", func(t *testing.T, s *suite) {
		got := s.build(t, pipelines.From(s.p, pipelines.Scratch{}).Then(pipelines.Configure{Cmd: []string{"/x"}}))
		if len(got.entries) != 0 || got.config.Config.Cmd[0] != "/x" {
			t.Errorf("entries %v, config %+v", got.entries, got.config.Config)
		}
	}},
}
