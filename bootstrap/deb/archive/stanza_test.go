package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var stanza = "Package: bash\nSource: bash-src (5.2)\nVersion: 5.2-1\nArchitecture: amd64\nEssential: yes\nProtected: yes\n" +
	"Priority: required\nSection: shells\nMulti-Arch: foreign\nPre-Depends: libc6 (>= 2.36)\nDepends: base-files (>= 2),\n debianutils\n" +
	"Conflicts: x\nBreaks: y\nReplaces: z\nProvides: sh\nRecommends: r\nInstalled-Size: 7000\nFilename: pool/b/bash.deb\nSize: 123\n" +
	"SHA256: " + strings.Repeat("ab", 32) + "\nDescription: shell\n Depends: not a field\n"

func TestParsePackages(t *testing.T) {
	s := &Suite{}
	text := stanza + "\n\n" + strings.NewReplacer("bash", "zsh", "amd64", "all", "Essential: yes\n", "", "Source: bash-src (5.2)\n", "").Replace(stanza) +
		"\n" + strings.Replace(stanza, "amd64", "i386", 1) + "\n" + strings.Replace(stanza, "bash", "last", 1)
	text = strings.TrimSuffix(text, "\n")
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "bytes": iotest.OneByteReader(strings.NewReader(text)),
		"crlf": strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))} {
		pkgs, err := parsePackages(r, "amd64", "main", s)
		if err != nil || len(pkgs) != 3 {
			t.Fatalf("%s: %d packages, %v", name, len(pkgs), err)
		}
		want := Package{Name: "bash", Source: "bash-src", Version: "5.2-1", Architecture: "amd64", Essential: true, Important: true, Priority: "required", Section: "shells",
			MultiArch: "foreign", PreDepends: "libc6 (>= 2.36)", Depends: "base-files (>= 2), debianutils", Conflicts: "x", Breaks: "y", Provides: "sh",
			Filename: "pool/b/bash.deb", Size: 123, InstalledSize: 7000, SHA256: strings.Repeat("ab", 32), Component: "main", Suite: s}
		if *pkgs[0] != want || *pkgs[0].Clone() != want {
			t.Errorf("%s: got %+v", name, *pkgs[0])
		}
		if p := pkgs[1]; p.Name != "zsh" || p.Source != "zsh" || p.Essential || p.Architecture != "all" {
			t.Errorf("%s: got %+v", name, *p)
		}
		if pkgs[2].Name != "last" || pkgs[2].String() != "last=5.2-1" || pkgs[2].Base() != "bash.deb" && pkgs[2].Base() != "last.deb" {
			t.Errorf("%s: got %+v", name, *pkgs[2])
		}
	}
	if pkgs, err := parsePackages(strings.NewReader(""), "amd64", "main", s); err != nil || len(pkgs) != 0 {
		t.Errorf("empty index: %d, %v", len(pkgs), err)
	}
}

func TestMalformedPackages(t *testing.T) {
	for name, change := range map[string][2]string{
		"no name": {"Package: bash\n", ""}, "bad name": {"Package: bash", "Package: ../bash"}, "space in name": {"Package: bash", "Package: ba sh"},
		"no version": {"Version: 5.2-1\n", ""}, "bad version": {"Version: 5.2-1", "Version: 5/2"},
		"climbing": {"pool/b/bash.deb", "pool/../../etc/x"}, "absolute": {"pool/b/bash.deb", "/etc/x"}, "no hash": {"SHA256", "SHA999"},
		"short hash": {"abab", ""}, "size": {"Size: 123\n", "Size: big\n"}, "no size": {"\nSize: 123", ""}, "no field": {"Priority: required", "Priority"},
		"endless line": {"required", strings.Repeat("x", maxLine+1)},
	} {
		_, err := parsePackages(strings.NewReader(strings.Replace(stanza, change[0], change[1], 1)), "amd64", "main", nil)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParsePackages(f *testing.F) {
	f.Add([]byte(stanza))
	f.Add([]byte(stanza + "\n" + stanza))
	f.Add([]byte("Package: a\n b\n\nx"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pkgs, err := parsePackages(bytes.NewReader(data), "amd64", "main", nil)
		if err != nil {
			return
		}
		for _, p := range pkgs {
			if err := p.check(); err != nil || p.Architecture != "amd64" && p.Architecture != "all" {
				t.Fatalf("accepted %+v: %v", *p, err)
			}
		}
		again, err := parsePackages(iotest.HalfReader(bytes.NewReader(data)), "amd64", "main", nil)
		if err != nil || len(again) != len(pkgs) {
			t.Fatalf("read in halves: %d packages, %d before, %v", len(again), len(pkgs), err)
		}
	})
}

func FuzzParseRelease(f *testing.F) {
	f.Add([]byte("Date: Wed, 01 Jul 2026 10:16:37 UTC\nSHA256:\n " + strings.Repeat("a", 64) + " 10 main/x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRelease(data)
		if err == nil && (r.Date.IsZero() || len(r.files) == 0) {
			t.Fatal("accepted a release without date or files")
		}
	})
}

func BenchmarkParsePackages(b *testing.B) {
	var text bytes.Buffer
	for i := range 10000 {
		fmt.Fprintf(&text, "%s\n", strings.Replace(stanza, "bash", fmt.Sprintf("bash%d", i), 1))
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parsePackages(bytes.NewReader(text.Bytes()), "amd64", "main", nil); err != nil {
			b.Fatal(err)
		}
	}
}
