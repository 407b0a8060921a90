package resolve_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/bootstrap/apk/resolve"
	"github.com/cfbuild/cfbuild/pipelines"
)

// pkg reads "name=version D:a b p:c=1 i:d k:5 arch:x".
func pkg(t *testing.T, s string) *index.Package {
	t.Helper()
	words := strings.Fields(s)
	p := &index.Package{Arch: "x86_64"}
	p.Name, p.Version, _ = strings.Cut(words[0], "=")
	list := &p.Depends
	for _, w := range words[1:] {
		key, rest, ok := strings.Cut(w, ":")
		if ok && len(key) == 1 && strings.Contains("Dpik", key) || key == "arch" {
			w = rest
			switch key {
			case "D":
				list = &p.Depends
			case "p":
				list = &p.Provides
			case "i":
				list = &p.IfAll
			case "k":
				fmt.Sscan(rest, &p.ProviderPriority)
				continue
			case "arch":
				p.Arch = rest
				continue
			}
		}
		d, err := index.ParseDep(w)
		if err != nil {
			t.Fatal(err)
		}
		*list = append(*list, d)
	}
	return p
}

func repo(t *testing.T, lines ...string) []*index.Package {
	var out []*index.Package
	for _, l := range lines {
		out = append(out, pkg(t, l))
	}
	return out
}

func solve(t *testing.T, world string, repos ...[]*index.Package) (string, error) {
	t.Helper()
	var deps []index.Dep
	for _, w := range strings.Fields(world) {
		d, err := index.ParseDep(w)
		if err != nil {
			t.Fatal(err)
		}
		deps = append(deps, d)
	}
	list, err := resolve.Resolve(repos, resolve.Options{Arch: "x86_64", World: deps})
	var out []string
	for _, c := range list {
		out = append(out, c.String())
	}
	return strings.Join(out, " "), err
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name, world, want string
		repos             [][]*index.Package
	}{
		{"newest version, dependencies first", "a", "so=1-r0 b=2-r0 a=1-r0",
			[][]*index.Package{repo(t, "a=1-r0 D:b", "b=1-r0", "b=2-r0 D:so:x", "so=1-r0 p:so:x=1")}},
		{"a newer version of a later repository", "a", "a=2-r0", [][]*index.Package{repo(t, "a=1-r0"), repo(t, "a=2-r0")}},
		{"of one version the first repository", "a", "b=1-r0 a=1-r0", [][]*index.Package{repo(t, "a=1-r0 D:b", "b=1-r0"), repo(t, "a=1-r0")}},
		{"version relations", "a", "b=1.5-r0 a=1-r0", [][]*index.Package{repo(t, "a=1-r0 D:b>1.2 b<2", "b=1-r0", "b=1.5-r0", "b=2-r0")}},
		{"fuzzy", "a", "b=1.5.9-r3 a=1-r0", [][]*index.Package{repo(t, "a=1-r0 D:b~1.5", "b=1.5.9-r3", "b=1.50-r0", "b=2-r0")}},
		{"going back", "a b", "a=1-r0 c=1-r0 b=1-r0", [][]*index.Package{repo(t, "a=1-r0", "a=2-r0 D:!c", "b=1-r0 D:c", "c=1-r0")}},
		{"provider by version", "a", "y=1-r0 a=1-r0", [][]*index.Package{repo(t, "a=1-r0 D:cmd:x", "x=9-r0 p:cmd:x=1", "y=1-r0 p:cmd:x=2")}},
		{"provider by priority", "a", "y=1-r0 a=1-r0", [][]*index.Package{repo(t, "a=1-r0 D:/bin/sh", "x=1-r0 p:/bin/sh k:5", "y=1-r0 p:/bin/sh k:60", "z=1-r0 p:/bin/sh")}},
		{"provider that is wanted anyway", "a z", "z=1-r0 a=1-r0", [][]*index.Package{repo(t, "a=1-r0 D:/bin/sh", "y=1-r0 p:/bin/sh k:60 D:!z", "z=1-r0 p:/bin/sh")}},
		{"two of one virtual name", "x y", "x=1-r0 y=1-r0", [][]*index.Package{repo(t, "x=1-r0 p:v", "y=1-r0 p:v")}},
		{"install_if", "a docs", "a=1-r0 docs=1-r0 dep=1-r0 a-doc=1-r0", [][]*index.Package{repo(t, "a=1-r0", "a-doc=1-r0 i:docs a=1-r0 D:dep", "docs=1-r0", "dep=1-r0", "b-doc=1-r0 i:docs b")}},
		{"install_if that is excluded", "a docs !a-doc", "a=1-r0 docs=1-r0", [][]*index.Package{repo(t, "a=1-r0", "a-doc=1-r0 i:docs a", "docs=1-r0")}},
		{"install_if that cannot be", "a docs", "a=1-r0 docs=1-r0", [][]*index.Package{repo(t, "a=1-r0", "a-doc=1-r0 i:docs a D:gone", "docs=1-r0")}},
		{"excluded provider", "a !x", "y=1-r0 a=1-r0", [][]*index.Package{repo(t, "a=1-r0 D:cmd:z", "x=1-r0 p:cmd:z=2", "y=1-r0 p:cmd:z=1")}},
		{"a circle", "a", "b=1-r0 a=1-r0", [][]*index.Package{repo(t, "a=1-r0 D:b", "b=1-r0 D:a")}},
		{"another architecture", "a", "a=1-r0", [][]*index.Package{repo(t, "a=2-r0 arch:aarch64", "a=1-r0 arch:noarch")}},
		{"world with a version", "a<2", "a=1-r0", [][]*index.Package{repo(t, "a=1-r0", "a=2-r0")}},
	} {
		got, err := solve(t, c.world, c.repos...)
		if err != nil || got != c.want {
			t.Errorf("%s: %v\n got  %s\n want %s", c.name, err, got, c.want)
		}
	}
}

func TestNoSolution(t *testing.T) {
	for _, c := range []struct {
		name, world, says, hint string
		repo                    []*index.Package
	}{
		{"missing", "busibox", "package busibox: no repository has it", "near it: busybox", repo(t, "busybox=1-r0", "other=1-r0")},
		{"missing dependency", "a", "package gone: no repository has it, and a needs it", "check the name", repo(t, "a=1-r0 D:gone")},
		{"conflict", "a b", "package b: ", "leave out what excludes it", repo(t, "a=1-r0 D:!b", "b=1-r0")},
		{"version", "a", "a=1-r0 wants b>5; there is b=1-r0", "include one", repo(t, "a=1-r0 D:b>5", "b=1-r0")},
		{"excluded", "a !b", "b is excluded", "leave out", repo(t, "a=1-r0 D:b", "b=1-r0")},
		{"a choice to make", "a", "package virtual: it is provided by x, y, and none of them is chosen by itself", "include one of the packages", repo(t, "a=1-r0 D:virtual", "y=1-r0 p:virtual", "x=1-r0 p:virtual")},
		{"same name provided twice", "x y", "package y: ", "", repo(t, "x=1-r0 p:v=1", "y=1-r0 p:v=1")},
	} {
		_, err := solve(t, c.world, c.repo)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v", c.name, err)
			continue
		}
		var h interface{ Hint() string }
		if !errors.As(err, &h) || !strings.Contains(h.Hint(), c.hint) {
			t.Errorf("%s: hint %v", c.name, h)
		}
		if wanted := c.name == "missing"; errors.Is(err, pipelines.ErrInvalid) != wanted {
			t.Errorf("%s: an invalid definition: %v", c.name, !wanted)
		}
	}
}
