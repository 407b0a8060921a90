package resolve

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// parse makes packages of lines such as
//
//	a-1-1.x86_64 provides b = 1; requires c >= 2, (d if e); conflicts f; obsoletes g; files /usr/bin/a; repo 1
func parse(t *testing.T, text string) []*Package {
	t.Helper()
	var out []*Package
	for line := range strings.Lines(text) {
		head, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if head == "" {
			continue
		}
		p := &Package{SHA256: line}
		i := strings.LastIndexByte(head, '.')
		p.Arch = head[i+1:]
		nv := head[:i]
		j := strings.LastIndexByte(nv, '-')
		k := strings.LastIndexByte(nv[:j], '-')
		p.Name, p.EVR = nv[:k], ParseEVR(nv[k+1:])
		p.Provides = []Dep{{p.Name, Equal, p.EVR}}
		for part := range strings.SplitSeq(rest, ";") {
			word, list, _ := strings.Cut(strings.TrimSpace(part), " ")
			for d := range strings.SplitSeq(list, ", ") {
				w := strings.Fields(d)
				dep := Dep{Name: d}
				if len(w) == 3 && !strings.HasPrefix(d, "(") {
					dep = Dep{w[0], ParseOp(w[1]), ParseEVR(w[2])}
				}
				switch word {
				case "provides":
					p.Provides = append(p.Provides, dep)
				case "requires":
					p.Requires = append(p.Requires, dep)
				case "conflicts":
					p.Conflicts = append(p.Conflicts, dep)
				case "obsoletes":
					p.Obsoletes = append(p.Obsoletes, dep)
				case "files":
					p.Files = append(p.Files, d)
				case "repo":
					p.Repo = int(d[0] - '0')
				}
			}
		}
		out = append(out, p)
	}
	return out
}

func TestResolve(t *testing.T) {
	for _, c := range []struct{ name, packages, include, exclude, want string }{
		{"the newest", "a-1-1.noarch\na-1-10.noarch\na-1-9.noarch", "a", "", "a-1-10.noarch"},
		{"an epoch counts first", "a-1:1-1.noarch\na-9-1.noarch", "a", "", "a-1:1-1.noarch"},
		{"no other architecture", "a-1-1.x86_64\na-2-1.i686\na-3-1.aarch64", "a", "", "a-1-1.x86_64"},
		{"of equal ones that of the first repository", "a-1-1.noarch repo 1\na-1-1.noarch repo 0; requires b\nb-1-1.noarch", "a", "", "a-1-1.noarch b-1-1.noarch"},
		{"a chain", "a-1-1.noarch requires b >= 2\nb-1-1.noarch\nb-2-1.noarch requires c\nc-1-1.noarch", "a", "", "a-1-1.noarch b-2-1.noarch c-1-1.noarch"},
		{"a loop", "a-1-1.noarch requires b\nb-1-1.noarch requires a", "a", "", "a-1-1.noarch b-1-1.noarch"},
		{"something provided", "a-1-1.noarch requires mta\npostfix-1-1.noarch provides mta\nexim-1-1.noarch provides mta", "a", "", "a-1-1.noarch exim-1-1.noarch"},
		{"what has the name comes first", "a-1-1.noarch requires mta\nexim-1-1.noarch provides mta\nmta-1-1.noarch", "a", "", "a-1-1.noarch mta-1-1.noarch"},
		{"what was asked for comes first", "a-1-1.noarch requires mta\nexim-1-1.noarch provides mta\npostfix-1-1.noarch provides mta", "a postfix", "", "a-1-1.noarch postfix-1-1.noarch"},
		{"asked for by what it provides", "exim-1-1.noarch provides mta", "mta", "", "exim-1-1.noarch"},
		{"left out", "a-1-1.noarch requires mta\nexim-1-1.noarch provides mta\npostfix-1-1.noarch provides mta", "a", "exim", "a-1-1.noarch postfix-1-1.noarch"},
		{"a file", "a-1-1.noarch requires /usr/bin/b\nb-1-1.noarch files /usr/bin/b", "a", "", "a-1-1.noarch b-1-1.noarch"},
		{"a file, /usr merged", "a-1-1.noarch requires /bin/b\nb-1-1.noarch files /usr/bin/b", "a", "", "a-1-1.noarch b-1-1.noarch"},
		{"one's own file", "a-1-1.noarch requires /usr/bin/a; files /usr/bin/a", "a", "", "a-1-1.noarch"},
		{"a conflict is avoided", "a-1-1.noarch requires x\nb-1-1.noarch provides x; conflicts a\nc-1-1.noarch provides x", "a", "", "a-1-1.noarch c-1-1.noarch"},
		{"a conflict the other way", "a-1-1.noarch requires x; conflicts b < 2\nb-1-1.noarch provides x\nc-1-1.noarch provides x", "a", "", "a-1-1.noarch c-1-1.noarch"},
		{"small variants that are asked for stay", "coreutils-1-1.noarch\ncoreutils-single-1-1.noarch provides coreutils = 1-1; conflicts coreutils\nbash-1-1.noarch requires coreutils", "bash coreutils-single", "", "bash-1-1.noarch coreutils-single-1-1.noarch"},
		{"obsolete", "a-1-1.noarch requires x\nb-1-1.noarch provides x\nnew-2-1.noarch provides x; obsoletes b < 2", "a", "", "a-1-1.noarch new-2-1.noarch"},
		{"an older one where the newest cannot be had", "a-2-1.noarch requires nowhere\na-1-1.noarch\nb-1-1.noarch requires a", "b", "", "a-1-1.noarch b-1-1.noarch"},
		{"another provider where the first cannot be had", "a-1-1.noarch requires x\nb-1-1.noarch provides x; requires nowhere\nc-1-1.noarch provides x", "a", "", "a-1-1.noarch c-1-1.noarch"},
		{"if, and it is", "a-1-1.noarch requires (b if c)\nb-1-1.noarch\nc-1-1.noarch", "a c", "", "a-1-1.noarch b-1-1.noarch c-1-1.noarch"},
		{"if, and it is not", "a-1-1.noarch requires (b if c)\nb-1-1.noarch\nc-1-1.noarch", "a", "", "a-1-1.noarch"},
		{"if, and it is only later", "a-1-1.noarch requires (b if c), d\nb-1-1.noarch\nc-1-1.noarch\nd-1-1.noarch requires c", "a", "", "a-1-1.noarch b-1-1.noarch c-1-1.noarch d-1-1.noarch"},
		{"if else", "a-1-1.noarch requires (b if c else d)\nb-1-1.noarch\nc-1-1.noarch\nd-1-1.noarch", "a", "", "a-1-1.noarch d-1-1.noarch"},
		{"or", "a-1-1.noarch requires (nowhere or b)\nb-1-1.noarch", "a", "", "a-1-1.noarch b-1-1.noarch"},
		{"or, and one is there", "a-1-1.noarch requires (b or c)\nb-1-1.noarch\nc-1-1.noarch", "a c", "", "a-1-1.noarch c-1-1.noarch"},
		{"and", "a-1-1.noarch requires (b and c)\nb-1-1.noarch\nc-1-1.noarch", "a", "", "a-1-1.noarch b-1-1.noarch c-1-1.noarch"},
		{"with", "a-1-1.noarch requires (x >= 1 with x < 3)\nb-3-1.noarch provides x = 3\nc-2-1.noarch provides x = 2", "a", "", "a-1-1.noarch c-2-1.noarch"},
		{"without", "a-1-1.noarch requires (x without y)\nb-1-1.noarch provides x, y\nc-1-1.noarch provides x", "a", "", "a-1-1.noarch c-1-1.noarch"},
		{"unless", "a-1-1.noarch requires (b unless c)\nb-1-1.noarch\nc-1-1.noarch", "a c", "", "a-1-1.noarch c-1-1.noarch"},
		{"nested", "a-1-1.noarch requires ((b and config(c)) if (c or d))\nb-1-1.noarch\nc-1-1.noarch provides config(c)\nd-1-1.noarch", "a d", "", "a-1-1.noarch b-1-1.noarch c-1-1.noarch d-1-1.noarch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pkgs := parse(t, c.packages)
			for range 2 { // the order of the input does not matter
				got, err := Resolve(pkgs, Options{Arch: "x86_64", Include: strings.Fields(c.include), Exclude: strings.Fields(c.exclude)})
				if err != nil {
					t.Fatal(err)
				}
				var list []string
				for _, p := range got {
					list = append(list, p.String())
				}
				if s := strings.Join(list, " "); s != c.want {
					t.Errorf("got %s, want %s", s, c.want)
				}
				slices.Reverse(pkgs)
			}
		})
	}
}

func TestWhy(t *testing.T) {
	got, err := Resolve(parse(t, "a-1-1.noarch requires b\nb-1-1.noarch"), Options{Arch: "x86_64", Include: []string{"a"}})
	if err != nil || got[0].Why != "requested" || got[1].Why != "depends: a" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, packages, include, want, hint string }{
		{"not there", "coreutils-1-1.noarch", "coreutilz", "package coreutilz: no repository has it", "did you mean coreutils?"},
		{"not for the architecture", "a-1-1.i686", "a", "package a: no repository has it", ""},
		{"a requirement that nobody provides", "a-1-1.noarch requires b\nb-1-1.noarch requires nowhere", "a",
			"package b-1-1.noarch: requires nowhere, which cannot be had\n  it is there for a-1-1.noarch > b-1-1.noarch", ""},
		{"too old", "a-1-1.noarch requires b >= 2\nb-1-1.noarch", "a", "requires b >= 2, which cannot be had\n  b-1-1.noarch provides b = 1-1", ""},
		{"two that do not go together", "a-1-1.noarch\nb-1-1.noarch conflicts a", "a b", "package b: cannot be installed\n  b-1-1.noarch conflicts with a-1-1.noarch", "leave one of the packages"},
		{"a garbled rich dependency", "a-1-1.noarch requires (b if", "a", `rich dependency "(b if"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Resolve(parse(t, c.packages), Options{Arch: "x86_64", Include: strings.Fields(c.include)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			var h interface{ Hint() string }
			if !errors.As(err, &h) || !strings.Contains(h.Hint(), c.hint) {
				t.Errorf("hint %q, want %q", h.Hint(), c.hint)
			}
		})
	}
	var need *NeedFilesError
	_, err := Resolve(parse(t, "a-1-1.noarch requires /usr/share/x, /opt/y"), Options{Arch: "x86_64", Include: []string{"a"}})
	if !errors.As(err, &need) || !slices.Equal(need.Paths, []string{"/opt/y", "/usr/share/x"}) {
		t.Errorf("%v", err)
	}
}

func FuzzRich(f *testing.F) {
	for _, s := range []string{"(a if b)", "((a >= 1 and b) or config(c) = 2-1 else d)", "(", "(a", "(((((((((", "(a with b without c)"} {
		f.Add(s)
	}
	pkgs := []*Package{{Name: "a", Arch: "noarch", EVR: EVR{"", "1", "1"}}, {Name: "b", Arch: "noarch"}}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := parseRich(s); err == nil && r == nil {
			t.Error("nothing, without an error")
		}
		pkgs[0].Requires = []Dep{{Name: s}}
		_, _ = Resolve(pkgs, Options{Arch: "x86_64", Include: []string{"a"}})
	})
}
