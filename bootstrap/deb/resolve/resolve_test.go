package resolve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/pipelines"
)

// stock makes packages of lines "name version field: value; field: value".
func stock(suite *archive.Suite, text string) []*archive.Package {
	var out []*archive.Package
	for line := range strings.Lines(text) {
		head, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if head == "" {
			continue
		}
		version, fields, _ := strings.Cut(rest, " ")
		p := &archive.Package{Name: head, Version: version, Architecture: "amd64", Priority: "optional", Suite: suite}
		for f := range strings.SplitSeq(fields, ";") {
			k, v, _ := strings.Cut(strings.TrimSpace(f), ": ")
			switch k {
			case "ess":
				p.Essential = true
			case "prio":
				p.Priority = v
			case "dep":
				p.Depends = v
			case "pre":
				p.PreDepends = v
			case "con":
				p.Conflicts = v
			case "brk":
				p.Breaks = v
			case "prov":
				p.Provides = v
			case "ma":
				p.MultiArch = v
			case "arch":
				p.Architecture = v
			}
		}
		out = append(out, p)
	}
	return out
}

// names is "a b=2 c", versions only where they are not 1.
func names(list []Chosen) string {
	var out []string
	for _, c := range list {
		if c.Version == "1" {
			out = append(out, c.Name)
		} else {
			out = append(out, c.String())
		}
	}
	return strings.Join(out, " ")
}

const base = `
core 1 ess; pre: libc
libc 1 ma: same
apt 1 prio: required; dep: libc
tool 1 prio: required
nice 1 prio: important
big 1 prio: standard; dep: nice | other
`

func TestVariants(t *testing.T) {
	pkgs := stock(&archive.Suite{}, base)
	for variant, want := range map[string]string{
		"essential": "core libc", "apt": "apt core libc", "minbase": "apt core libc tool", "": "apt core libc tool", "standard": "apt big core libc nice tool",
	} {
		got, err := Resolve(pkgs, Options{Arch: "amd64", Variant: variant})
		if err != nil || names(got) != want {
			t.Errorf("%s: %s, %v", variant, names(got), err)
		}
	}
	if _, err := Resolve(pkgs, Options{Arch: "amd64", Variant: "huge"}); !errors.Is(err, pipelines.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestWhy(t *testing.T) {
	got, err := Resolve(stock(&archive.Suite{}, base+"x 1 dep: y\ny 1 pre: libc, tool"), Options{Arch: "amd64", Include: []string{"x", "libc"}})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range got {
		lines = append(lines, fmt.Sprintf("%s: %s %v %v", c.Name, c.Why, c.Auto, c.PreDepends))
	}
	want := []string{"apt: priority: required false []", "core: essential false [libc]", "libc: requested false []", "tool: priority: required false []",
		"x: requested false []", "y: depends: x true [libc tool]"}
	if !slices.Equal(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

func TestChoices(t *testing.T) {
	for _, tt := range []struct{ name, stock, include, exclude, want string }{
		{"first alternative", "a 1 dep: b | c\nb 1\nc 1", "a", "", "a b"},
		{"one that is there", "a 1 dep: b | c\nb 1\nc 1", "a c", "", "a c"},
		{"one chosen before", "a 1 dep: z, b | c\nb 1\nc 1\nz 1 dep: c", "a", "", "a c z"},
		{"second when the first cannot be", "a 1 dep: b | c\nb 1 dep: missing\nc 1", "a", "", "a c"},
		{"second when the first conflicts", "a 1 dep: b | c\nb 1 con: x\nc 1\nx 1", "a x", "", "a c x"},
		{"nothing is left of a failed try", "a 1 dep: b | c\nb 1 dep: d, missing\nc 1\nd 1 con: e\ne 1", "a e", "", "a c e"},
		{"version of an alternative", "a 1 dep: b (>= 2) | c\nb 1\nc 1", "a", "", "a c"},
		{"highest version", "a 1 dep: b (>= 2)\nb 1\nb 2:0.1\nb 2", "a", "", "a b=2:0.1"},
		{"pinned version", "a 1 dep: b\nb 1\nb 2", "a b=1", "", "a b"},
		{"provided", "a 1 dep: v\np 1 prov: v", "a", "", "a p"},
		{"real before provided", "a 1 dep: v\np 1 prov: v; prio: important\nv 1", "a", "", "a v"},
		{"provided and chosen", "a 1 dep: v\np 1 prov: v\nv 1", "a p", "", "a p"},
		{"provided in a version", "a 1 dep: v (>= 2)\np 1 prov: v\nq 1 prov: v (= 1)\nr 1 prov: v (= 3)", "a", "", "a r"},
		{"provider by priority", "a 1 dep: v\np 1 prov: v\nq 1 prov: v; prio: standard\nr 1 prov: v", "a", "", "a q"},
		{"virtual request", "p 1 prov: v", "v", "", "p"},
		{"circle", "a 1 dep: b\nb 1 dep: c\nc 1 pre: a", "a", "", "a b c"},
		{"any", "a 1 dep: b:any | c\nb 1\nc 1\nd 1 dep: e:any\ne 1 ma: allowed", "a d", "", "a c d e"},
		{"all", "a 1 dep: b\nb 1 arch: all", "a", "", "a b"},
		{"another architecture is not there", "a 1 dep: b | c\nb 1 arch: i386\nc 1", "a", "", "a c"},
		{"excluded alternative", "a 1 dep: b | c\nb 1\nc 1", "a", "b", "a c"},
		{"excluded seed", "r 1 prio: required\na 1", "a", "r", "a"},
		{"conflict with what it provides itself", "a 1 con: mta; prov: mta\nb 1 dep: mta", "a b", "", "a b"},
		{"breaks old ones only", "a 1 brk: b (<< 2)\nb 2", "a b", "", "a b=2"},
		{"spelled with an architecture", "a 1\nb 1", "a:amd64 b", "", "a b"},
		{"usrmerge last", "a 1 dep: usrmerge | usr-is-merged\nusrmerge 1\nusr-is-merged 1", "a", "", "a usr-is-merged"},
		{"usrmerge if asked for", "a 1 dep: usrmerge | usr-is-merged\nusrmerge 1\nusr-is-merged 1", "a usrmerge", "", "a usrmerge"},
		{"usrmerge if need be", "a 1 dep: usrmerge | nothing\nusrmerge 1", "a", "", "a usrmerge"},
	} {
		pkgs := stock(&archive.Suite{}, tt.stock)
		o := Options{Arch: "amd64", Include: strings.Fields(tt.include), Exclude: strings.Fields(tt.exclude), MergedUsr: true}
		got, err := Resolve(pkgs, o)
		if err != nil || names(got) != tt.want {
			t.Errorf("%s: got %q, want %q, %v", tt.name, names(got), tt.want, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name, stock, include, exclude string
		is                            error
		text, hint                    string
	}{
		{"unknown", "bash 1", "bsh", "", ErrNoPackage, "package bsh: no such package for amd64", "bash"},
		{"virtual", "p 1 prov: v\nq 1 prov: v", "v", "", ErrNoPackage, "virtual", "p, q"},
		{"version", "a 1\na 2", "a=3", "", ErrNoPackage, "not there in version 3", "1, 2"},
		{"chain", "a 1 dep: b (>= 2)\nb 2 dep: c", "a", "", ErrUnmet, "a depends b (>= 2) depends c: no such package", "leave a out"},
		{"too old", "a 1 dep: b (>= 2)\nb 1", "a", "", ErrUnmet, "a depends b (>= 2): there is version 1", ""},
		{"all alternatives", "a 1 dep: b | c (= 2)\nb 1 dep: x\nc 1", "a", "", ErrUnmet, "a depends b | c (= 2): c (= 2): there is version 1; b depends x: no such package", ""},
		{"provided without version", "a 1 dep: v (>= 1)\np 1 prov: v", "a", "", ErrUnmet, "only provided without a version, by p", ""},
		{"essential", "e 1 ess; pre: gone", "", "", ErrUnmet, "e depends gone: no such package", "one state"},
		{"excluded", "a 1 dep: b\nb 1", "a", "b", ErrUnmet, "a depends b: b: it is excluded", "exclude"},
		{"conflict", "a 1 dep: b\nb 1 con: x\nx 1", "a x", "", ErrConflict, "a depends b: b conflicts x [a (requested) depends b; x (requested)]", ""},
		{"requests that conflict", "a 1 brk: v\nx 1 prov: v", "a x", "", ErrConflict, "a breaks v, which is x [a (requested); x (requested)]", "leave one"},
		{"architecture", "a 1", "a:arm64", "", pipelines.ErrInvalid, "another architecture", "one architecture"},
		{"both", "a 1", "a", "a", pipelines.ErrInvalid, "both included and excluded", ""},
	} {
		_, err := Resolve(stock(&archive.Suite{}, tt.stock), Options{Arch: "amd64", Include: strings.Fields(tt.include), Exclude: strings.Fields(tt.exclude)})
		if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.text)
			continue
		}
		var h interface{ Hint() string }
		if !errors.As(err, &h) || !strings.Contains(h.Hint(), tt.hint) {
			t.Errorf("%s: %v: the hint lacks %q", tt.name, err, tt.hint)
		}
	}
}

// TestSuites: the set comes from the first suite, versions from all.
func TestSuites(t *testing.T) {
	first, second := &archive.Suite{}, &archive.Suite{}
	pkgs := append(stock(first, base), stock(second, "tool 2 dep: new\nnew 1\nodd 1 prio: required\nlibc 0.9")...)
	got, err := Resolve(pkgs, Options{Arch: "amd64"})
	if err != nil || names(got) != "apt core libc new tool=2" {
		t.Errorf("got %q, %v", names(got), err)
	}
}

func BenchmarkResolve(b *testing.B) {
	var text strings.Builder
	text.WriteString(base)
	for i := range 60_000 {
		fmt.Fprintf(&text, "p%d 1 dep: p%d | v%d, libc; prov: v%d (= 1)\n", i, i+1, i+1, i)
	}
	text.WriteString("p60000 1\n")
	pkgs := stock(&archive.Suite{}, text.String())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Resolve(pkgs, Options{Arch: "amd64", Variant: "standard", Include: []string{"p59000"}}); err != nil {
			b.Fatal(err)
		}
	}
}
