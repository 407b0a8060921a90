package resolve_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/apk/index"
	"github.com/cfbuild/cfbuild/bootstrap/apk/resolve"
	"github.com/cfbuild/cfbuild/internal/distkeys"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
	"github.com/cfbuild/cfbuild/site"
)

var installing = regexp.MustCompile(`(?m)^\(\s*\d+/\d+\) Installing (\S+) \((\S+)\)$`)

// universe makes packages at random: a to h with versions, dependencies, conflicts,
// provided names with and without versions, priorities and install_if.
func universe(r *rand.Rand) string {
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	pick := func() string { return names[r.IntN(len(names))] }
	var b strings.Builder
	for _, n := range names {
		for v := 1; v <= 1+r.IntN(2); v++ {
			fmt.Fprintf(&b, "C:Q1%s%s%d%s=\nP:%s\nV:1.%d-r0\nA:x86_64\nS:1000\nI:1000\nT:t\nU:u\nL:l\n", strings.Repeat("A", 20), n, v, strings.Repeat("A", 5), n, v)
			var deps, provides []string
			for range r.IntN(3) {
				switch d := pick(); {
				case d == n:
				case r.IntN(6) == 0:
					deps = append(deps, "!"+d)
				case r.IntN(4) == 0:
					deps = append(deps, fmt.Sprintf("%s%s1.%d-r0", d, []string{">=", "<", "=", "~"}[r.IntN(4)], 1+r.IntN(2)))
				case r.IntN(4) == 0:
					deps = append(deps, []string{"virtual", "so:x", "cmd:y"}[r.IntN(3)])
				default:
					deps = append(deps, d)
				}
			}
			if r.IntN(4) == 0 {
				provides = append(provides, "so:x="+fmt.Sprint(v))
			}
			if r.IntN(4) == 0 {
				provides = append(provides, "virtual")
			}
			if r.IntN(4) == 0 {
				provides = append(provides, fmt.Sprintf("cmd:y=1.%d-r0", v))
			}
			if len(deps) > 0 {
				fmt.Fprintf(&b, "D:%s\n", strings.Join(deps, " "))
			}
			if len(provides) > 0 {
				fmt.Fprintf(&b, "p:%s\n", strings.Join(provides, " "))
			}
			if r.IntN(3) == 0 {
				fmt.Fprintf(&b, "k:%d\n", 1+r.IntN(9))
			}
			if r.IntN(6) == 0 {
				fmt.Fprintf(&b, "i:%s %s\n", pick(), pick())
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// known are the universes in which the choice of apk 2.10 differs, with the reason. They need two
// packages that provide one name without a version, which Alpine keeps apart by
// priorities.
var known = map[uint64]string{
	42:  "apk decides on the package with the highest priority for a name before it knows that another one, which is wanted anyway, provides it too, and keeps an older version for its sake",
	108: "apk 2.10 takes the only package that provides a name without a version; later versions do not, nor do we",
	285: "as 42",
	308: "as 42",
}

// TestSameChoice lets the real apk choose from random repositories too. Where it finds
// a solution, ours is the same; the order of installing may differ between packages that
// do not need each other.
func TestSameChoice(t *testing.T) {
	tool, key := apkrepo.NewApk(t), apkrepo.NewKey(t, "test.rsa.pub")
	keys := t.TempDir()
	if err := os.WriteFile(filepath.Join(keys, key.Name), key.Public(t), 0o644); err != nil {
		t.Fatal(err)
	}
	trusted, err := index.KeysFor("test", "", key.Keyring(t))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if out, err := tool.Run("--root", root, "--initdb", "--arch", "x86_64", "add"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	both, onlyOurs, order := 0, 0, 0
	for seed := range uint64(320) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		repo := apkrepo.Repo{Key: key, Stanzas: universe(r)}
		repo.Write(t, dir)
		data, err := os.ReadFile(filepath.Join(dir, repo.Dir(), "APKINDEX.tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		idx, err := index.Read(data, trusted)
		if err != nil {
			t.Fatal(err)
		}
		var world []index.Dep
		var args []string
		for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h"}[r.IntN(4):][:1+r.IntN(3)] {
			world = append(world, index.Dep{Name: n})
			args = append(args, n)
		}
		out, err := tool.Run(append([]string{"--root", root, "--arch", "x86_64", "--keys-dir", keys, "--repositories-file", "/dev/null",
			"--no-progress", "--simulate", "-X", filepath.Join(dir, "v3.24/main"), "add"}, args...)...)
		chosen, ours := resolve.Resolve([][]*index.Package{idx.Packages}, resolve.Options{Arch: "x86_64", World: world})
		var got, want []string
		for _, c := range chosen {
			got = append(got, c.Name+"="+c.Version)
		}
		for _, m := range installing.FindAllStringSubmatch(out, -1) {
			want = append(want, m[1]+"="+m[2])
		}
		if why := known[seed]; why != "" {
			if tool.Major("2.10") && err == nil && ours == nil && slices.Equal(got, want) {
				t.Errorf("seed %d is no longer different (%s)", seed, why)
			}
			continue
		}
		switch {
		case err != nil && ours == nil:
			onlyOurs++
			continue
		case err != nil:
			continue
		case ours != nil:
			t.Errorf("seed %d: world %s: apk chose %v, ours: %v\n%s", seed, args, want, ours, repo.Stanzas)
			continue
		}
		both++
		if slices.Equal(got, want) {
			continue
		}
		if a, b := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want)); slices.Equal(a, b) {
			order++
			t.Logf("seed %d: world %s: order apk %v, ours %v", seed, args, want, got)
			continue
		}
		t.Errorf("seed %d: world %s\napk  %v\nours %v\n%s", seed, args, want, got, repo.Stanzas)
	}
	t.Logf("%d the same choice (%d in another order), %d solved by ours alone", both, order, onlyOurs)
	if both < 100 {
		t.Errorf("only %d universes had a solution", both)
	}
}

// TestSameChoiceReal is the same with Alpine's own index of main. The names are those of
// 3.16; where one is gone, apk has to refuse it as we do.
func TestSameChoiceReal(t *testing.T) {
	data, tool := apkrepo.RealIndex(t), apkrepo.NewApk(t)
	keys, dir, root := t.TempDir(), t.TempDir(), t.TempDir()
	for _, k := range distkeys.Alpine() {
		if err := os.WriteFile(filepath.Join(keys, k.Name), k.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "x86_64"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x86_64", "APKINDEX.tar.gz"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	trusted, err := index.KeysFor("alpine", "v3.16", site.Keyring{})
	if err != nil {
		t.Fatal(err)
	}
	idx, err := index.Read(data, trusted)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := tool.Run("--root", root, "--initdb", "--arch", "x86_64", "add"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, world := range []string{
		"alpine-baselayout alpine-keys apk-tools busybox libc-utils",
		"alpine-base python3 postgresql14 docs",
		"busybox build-base git openssh nginx perl ruby lua5.4 sqlite gnupg",
		"busybox alpine-sdk gdb valgrind llvm13 clang cmake bash coreutils !busybox-suid",
		"alpine-base openrc samba bind dovecot postfix-ldap unbound rsyslog",
	} {
		var deps []index.Dep
		for _, w := range strings.Fields(world) {
			d, err := index.ParseDep(w)
			if err != nil {
				t.Fatal(err)
			}
			deps = append(deps, d)
		}
		chosen, ours := resolve.Resolve([][]*index.Package{idx.Packages}, resolve.Options{Arch: "x86_64", World: deps})
		out, theirs := tool.Run(append([]string{"--root", root, "--keys-dir", keys, "--repositories-file", "/dev/null", "--no-progress", "--simulate", "-X", dir, "add"}, strings.Fields(world)...)...)
		var got, want []string
		for _, c := range chosen {
			got = append(got, c.Name+"="+c.Version)
		}
		for _, m := range installing.FindAllStringSubmatch(out, -1) {
			want = append(want, m[1]+"="+m[2])
		}
		slices.Sort(got)
		slices.Sort(want)
		if (ours == nil) != (theirs == nil) || ours == nil && !slices.Equal(got, want) {
			t.Errorf("%s\napk  %v %v\nours %v %v", world, theirs, minus(want, got), ours, minus(got, want))
			if theirs != nil {
				t.Log(out)
			}
		}
		t.Logf("%s: %d packages, %v", world, len(got), ours)
	}
}

// minus gives what is in a and not in b.
func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
