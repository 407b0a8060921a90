package pool

import (
	"errors"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/builders/buildkit/connect"
)

// check is what a backend hands in.
func check(s string) error {
	_, err := connect.Parse(s)
	return err
}

func TestIsList(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "docker": false, "unix:///s": false, "tcp://a?certs=/c": false, "docker?tls=off": false, "ssh://u@h/s?x=1": false,
		"linux/amd64=tcp://a": true, "*=unix:///s": true, "tcp://a,tcp://b": true, "arm64=docker": true,
	} {
		if got := IsList(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestParse(t *testing.T) {
	got, err := Parse("linux/amd64=tcp://a?certs=/c, arm64=tcp://b?certs=/c,linux/386=tcp://a?certs=/c,*=unix:///s,docker", check)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, w := range got {
		text = append(text, w.String())
	}
	want := "linux/amd64=tcp://a?certs=/c,linux/386=tcp://a?certs=/c | linux/arm64=tcp://b?certs=/c | *=unix:///s | *=docker"
	if strings.Join(text, " | ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(text, " | "), want)
	}
}

func TestParseRefuses(t *testing.T) {
	for s, want := range map[string]string{
		"linux/amd64=,*=docker":                       "names no address",
		"linux/amd64=unix:///s,":                      "empty entry",
		"linux/amd65=unix:///s":                       `platform "linux/amd65"`,
		"linux/amd64=unix:///s,linux/amd64=unix:///s": "given twice",
		"*=unix:///s,linux/amd64=unix:///s":           "given twice",
		"linux/amd64=tpc://a":                         "scheme",
		"linux/amd64=tcp://a":                         "plain TCP to another machine",
	} {
		_, err := Parse(s, check)
		var h interface{ Hint() string }
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &h) || h.Hint() == "" {
			t.Errorf("%q: %v, want %q and a hint", s, err, want)
		}
	}
}
