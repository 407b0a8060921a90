package builderstest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cfbuild/cfbuild/internal/listing"
	"github.com/cfbuild/cfbuild/pipelines"
)

// local makes a directory of this machine. Modes do not depend on the umask.
func local(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, data := range map[string]string{"app/main.txt": "main", "app/sub/deep.txt": "deep", "app/sub/skip.log": "log", "top.txt": "top", "b.txt": "b", ".hidden": "h"} {
		p := filepath.Join(dir, path)
		check(t, os.MkdirAll(filepath.Dir(p), 0o755))
		check(t, os.WriteFile(p, []byte(data), 0o600))
		check(t, os.Chmod(p, 0o640))
	}
	for _, d := range []string{"", "app", "app/sub"} {
		check(t, os.Chmod(filepath.Join(dir, d), 0o755))
	}
	check(t, os.Symlink("main.txt", filepath.Join(dir, "app/link")))
	check(t, os.Symlink("app/main.txt", filepath.Join(dir, "toplink")))
	check(t, os.Chmod(filepath.Join(dir, "top.txt"), 0o755|os.ModeSetuid))
	return dir
}

var copyCases = []testCase{
	{"copy from a directory", func(t *testing.T, s *suite) {
		src := pipelines.From(s.p, pipelines.Local{Path: local(t), Exclude: []string{"app/sub/*.log", ".hidden"}})
		got := s.build(t, s.image().Then(
			pipelines.Copy{From: src, Src: []string{"/"}, Dst: "/all"},
			pipelines.Copy{From: src, Src: []string{"app"}, Dst: "/app"},
			pipelines.Copy{From: src, Src: []string{"top.txt"}, Dst: "/renamed"},
			pipelines.Copy{From: src, Src: []string{"*.txt"}, Dst: "/new/place/", Owner: "1000:1001", Mode: 0o444},
			pipelines.Copy{From: src, Src: []string{"b.txt"}, Dst: "/srv"},
			pipelines.Copy{From: src, Src: []string{"toplink"}, Dst: "/followed"},
			pipelines.Copy{From: src, Src: []string{"app"}, Dst: "/opt/dirlink"},
		))
		got.want(t, "all dir 0755 0:0", "all/app/main.txt file 0640 0:0", "all/app/sub/deep.txt file 0640 0:0", "- all/app/sub/skip.log", "- all/.hidden",
			"all/app/link symlink 0777 0:0 -> main.txt", "all/top.txt file 4755 0:0", "all/toplink symlink 0777 0:0 -> app/main.txt",
			"app/main.txt file 0640 0:0", "- app/app", "renamed file 4755 0:0", "new/place/top.txt file 0444 1000:1001", "new/place/b.txt file 0444 1000:1001",
			"srv/b.txt file 0640 0:0", "srv/data file 0600 9:9", "followed file 0640 0:0", "srv/main.txt file 0640 0:0", "opt/dirlink symlink 0777 0:0 -> /srv")
		got.content(t, "followed", "main")
		for _, e := range got.entries {
			if e.Path == "all/app/main.txt" && e.Time != epoch.Unix() {
				t.Errorf("a time stamp of this machine came along: %d", e.Time)
			}
		}
	}},
	{"copy of several files keeps the directory", func(t *testing.T, s *suite) {
		src := pipelines.From(s.p, pipelines.Local{Path: local(t)})
		got := s.build(t, s.image().Then(
			pipelines.File{Path: "/kept", Dir: true, Mode: 0o1777, Owner: "7:7"}, pipelines.File{Path: "/kept/b.txt", Link: "/etc/conf"},
			pipelines.Run{Shell: "true"},
			pipelines.Copy{From: src, Src: []string{"*.txt"}, Dst: "/kept", Owner: "1000:1001"},
			pipelines.Copy{From: src, Src: []string{"b.txt", "app", "top.txt"}, Dst: "/opt/dirlink/"},
		))
		got.want(t, "kept dir 1777 7:7", "kept/b.txt file 0640 1000:1001", "kept/top.txt file 4755 1000:1001", "etc/conf file 0640 3:3",
			"opt/dirlink symlink 0777 0:0 -> /srv", "srv dir 0755 0:0", "srv/b.txt file 0640 0:0", "srv/top.txt file 4755 0:0", "srv/main.txt file 0640 0:0")
	}},
	{"copy what is included", func(t *testing.T, s *suite) {
		src := pipelines.From(s.p, pipelines.Local{Path: local(t), Include: []string{"app/sub", "b.*"}, Exclude: []string{"app/sub/skip.log"}})
		got := s.build(t, pipelines.From(s.p, pipelines.Scratch{}).Then(pipelines.Copy{From: src, Src: []string{"."}, Dst: "/"}))
		var paths []string
		for _, e := range got.entries {
			if e.Type != "dir" {
				paths = append(paths, e.Path)
			}
		}
		if len(paths) != 2 || paths[0] != "app/sub/deep.txt" || paths[1] != "b.txt" {
			t.Errorf("got %q", paths)
		}
	}},
	{"copy from an image", func(t *testing.T, s *suite) {
		got := s.build(t, pipelines.From(s.p, pipelines.Scratch{}).Then(
			pipelines.Copy{From: s.image(), Src: []string{"/opt"}, Dst: "/kept"},
			pipelines.Copy{From: s.image(), Src: []string{"/opt"}, Dst: "/given", Owner: "42:43"},
			pipelines.Copy{From: s.image(), Src: []string{"/opt/dirlink/deep"}, Dst: "/through"},
		))
		got.want(t, "kept dir 0755 0:0", "kept/suid file 4755 0:0", "kept/sgid dir 2775 7:7", "kept/link symlink 0777 0:0 -> one",
			"kept/dirlink symlink 0777 0:0 -> /srv", "given/sgid dir 2775 42:43", "given/link symlink 0777 42:43 -> one", "given/suid file 4755 42:43",
			"through/er/file file 0644 0:0")
		two, _ := listing.Find(got.entries, "kept/two")
		if two.Same != "kept/one" {
			t.Errorf("hard link lost: %s", two)
		}
		if e, _ := listing.Find(got.entries, "kept/one"); e.Time != oldTime.Unix() {
			t.Errorf("time stamp %d, want %d", e.Time, oldTime.Unix())
		}
		if !s.caps.Xattrs {
			return
		}
		if e, _ := listing.Find(got.entries, "kept/attr"); e.Xattrs["user.note"] != "hello" {
			t.Errorf("attribute lost: %s", e)
		}
		if e, _ := listing.Find(got.entries, "kept/cap"); e.Xattrs["security.capability"] != netBindService {
			t.Errorf("file capability lost: %q", e.Xattrs)
		}
	}},
	{"copy from what another image's steps made", func(t *testing.T, s *suite) {
		stage := s.image().Then(pipelines.Run{Shell: "echo built > /product && chown 8:8 /product"})
		got := s.build(t, pipelines.From(s.p, pipelines.Scratch{}).Then(pipelines.Copy{From: stage, Src: []string{"/product"}, Dst: "/bin/"}))
		got.want(t, "bin/product file 0644 8:8")
		if len(got.manifest.Layers) != 1 {
			t.Errorf("%d layers, want 1", len(got.manifest.Layers))
		}
	}},
	{"copy replaces files and merges directories", func(t *testing.T, s *suite) {
		src := pipelines.From(s.p, pipelines.Scratch{}).Then(
			pipelines.File{Path: "/etc/conf", Data: []byte("new\n")}, pipelines.File{Path: "/opt/link", Data: []byte("no link")},
			pipelines.File{Path: "/srv/deep/two", Data: []byte("2")}, pipelines.File{Path: "/srv", Dir: true, Mode: 0o711})
		got := s.build(t, s.image().Then(pipelines.Copy{From: src, Src: []string{"/"}, Dst: "/"}))
		got.want(t, "etc/conf file 0644 0:0", "opt/link file 0644 0:0", "opt/one file 0644 0:0", "srv/deep/two file 0644 0:0",
			"srv/deep/er/file file 0644 0:0", "srv dir 0755 0:0")
		got.content(t, "opt/one", "shared")
	}},
	{"mounts of another image", func(t *testing.T, s *suite) {
		other := pipelines.From(s.p, pipelines.Scratch{}).Then(pipelines.File{Path: "/tools/list", Data: []byte("one\ntwo\n")}, pipelines.File{Path: "/single", Data: []byte("1")})
		got := s.build(t, s.image().Then(pipelines.Run{
			Shell:  "cp /mnt/deep/list /copied; cat /etc/single >> /copied; if echo x > /mnt/deep/list; then exit 8; fi 2>/dev/null; if touch /mnt/deep/new; then exit 9; fi 2>/dev/null",
			Mounts: []pipelines.Mount{{From: other, Src: "/tools", Target: "/mnt/deep"}, {From: other, Src: "/single", Target: "/etc/single"}}}))
		got.content(t, "copied", "one\ntwo\n1")
		got.want(t, "- mnt", "- etc/single")
		changed := pipelines.From(s.p, pipelines.Scratch{}).Then(pipelines.File{Path: "/tools/list", Data: []byte("three\n")})
		mount := func(img pipelines.Image) pipelines.Image {
			return s.image().Then(pipelines.Run{Shell: "cp /mnt/list /listed", Mounts: []pipelines.Mount{{From: img, Src: "/tools", Target: "/mnt"}}})
		}
		s.build(t, mount(other)).content(t, "listed", "one\ntwo\n")
		s.build(t, mount(changed)).content(t, "listed", "three\n")
		err, _ := s.fail(t, s.image().Then(pipelines.Run{Shell: "true", Mounts: []pipelines.Mount{{From: other, Src: "/nowhere", Target: "/mnt"}}}))
		if step := asStep(t, err); step.ExitCode != -1 {
			t.Errorf("got %+v", step)
		}
	}},
	{"roots of a step have its devices and processes", func(t *testing.T, s *suite) {
		if !s.caps.Roots {
			t.Skip("declared: no roots")
		}
		got := s.build(t, s.image().Then(pipelines.Run{Roots: []string{"/srv/root"},
			Shell: "test -c /srv/root/dev/null; echo x > /srv/root/dev/null; read line < /srv/root/proc/self/status; echo \"$line\" | cut -c1-5 > /said"}))
		got.content(t, "said", "Name:\n")
		got.want(t, "- srv/root")
	}},
}
