package connect

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Address{
		"":                                  {},
		"unix:///run/b.sock":                {Kind: Unix, Path: "/run/b.sock"},
		"unix:///run/a%23b":                 {Kind: Unix, Path: "/run/a#b"},
		"tcp://127.0.0.1:9":                 {Kind: TCP, Host: "127.0.0.1:9", TLS: TLS{Off: true}},
		"tcp://localhost":                   {Kind: TCP, Host: "localhost:1234", TLS: TLS{Off: true}},
		"tcp://[::1]:9/":                    {Kind: TCP, Host: "[::1]:9", TLS: TLS{Off: true}},
		"tcp://[fd00::1]?tls=off":           {Kind: TCP, Host: "[fd00::1]:1234", TLS: TLS{Off: true}},
		"tcp://a:9?tls=on":                  {Kind: TCP, Host: "a:9"},
		"tcp://127.0.0.1:9?tls=on":          {Kind: TCP, Host: "127.0.0.1:9"},
		"tcp://a:9?certs=/c":                {Kind: TCP, Host: "a:9", TLS: TLS{CA: "/c/ca.pem", Cert: "/c/cert.pem", Key: "/c/key.pem"}},
		"tcp://a:9?certs=/c&ca=/x":          {Kind: TCP, Host: "a:9", TLS: TLS{CA: "/x", Cert: "/c/cert.pem", Key: "/c/key.pem"}},
		"tcp://a?ca=1&cert=2&key=3":         {Kind: TCP, Host: "a:1234", TLS: TLS{CA: "1", Cert: "2", Key: "3"}},
		"tcp://a?ca=1&servername=b":         {Kind: TCP, Host: "a:1234", TLS: TLS{CA: "1", ServerName: "b"}},
		"ssh://u@h:22/run/b.sock":           {Kind: SSH},
		"ssh://h":                           {Kind: SSH},
		"docker-container://my_b.1":         {Kind: DockerContainer},
		"docker-container://b?context=c":    {Kind: DockerContainer},
		"podman-container://b":              {Kind: PodmanContainer},
		"kube-pod://b-0?namespace=n":        {Kind: KubePod},
		"kube-pod://b?context=u@h:6443/x":   {Kind: KubePod},
		"docker":                            {Kind: Docker},
		"docker?tls=off&whatever=of-others": {Kind: Docker},
	} {
		got, err := Parse(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got.String() != in || got.Kind != want.Kind || got.Path != want.Path || got.Host != want.Host || got.TLS != want.TLS {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{ // the error, then a bit of the hint
		"tpc://a":                             `scheme "tpc" is unknown|did you mean tcp://?`,
		"docker-contianer://a":                `is unknown|did you mean docker-container://?`,
		"https://a":                           `scheme "https" is unknown|there are unix://`,
		"/run/b.sock":                         `has no scheme|did you mean unix:///run/b.sock?`,
		"build1:1234":                         `has no scheme|did you mean tcp://build1:1234?certs=DIR?`,
		"dokcer":                              `has no scheme|did you mean docker?`,
		"unix://run/b.sock":                   `not an absolute path|three slashes`,
		"unix://":                             `names nothing|there are`,
		"unix:///" + strings.Repeat("x", 120): `the path has 121 bytes|symbolic link`,
		"unix:///s?certs=/x":                  `takes no options|drop`,
		"tcp://":                              `names nothing|there are`,
		"tcp://:9":                            `names no host|tcp://HOST:PORT`,
		"tcp://a:x":                           `cannot be read|there are`,
		"tcp://a:9/p?tls=off":                 `has a path|tcp://HOST:PORT`,
		"tcp://u@a?tls=off":                   `names a user|drop`,
		"tcp://build1:1234":                   `plain TCP to another machine|?certs=DIR`,
		"tcp://10.0.0.1":                      `plain TCP to another machine|?tls=off`,
		"tcp://a?tls=of":                      `tls=of means nothing|tls=off`,
		"tcp://a?tls=off&certs=/c":            `certificates and tls=off|drop`,
		"tcp://a?ca=1&cert=2":                 `belong together|?certs=DIR`,
		"tcp://a?cers=/c":                     `option "cers" is unknown|did you mean cert`,
		"tcp://a?certs=":                      `certs= is empty|`,
		"tcp://a?certs=1&certs=2":             `given 2 times|`,
		"tcp://a?ca=1;2":                      `question mark cannot be read|`,
		"tcp://a?tls=off#x":                   `has a fragment|%23`,
		"ssh://u:hunter2@h":                   `has a password|ssh-agent`,
		"ssh://u:hunter2@h:x":                 `cannot be read|there are`,
		"ssh://-oProxyCommand=x":              `impossible|ssh://USER@HOST`,
		"ssh://-lroot@h":                      `impossible|ssh://USER@HOST`,
		"ssh://h?x=1":                         `takes no options|drop`,
		"docker-container://-v":               `is not a name|`,
		"docker-container://a/b":              `more than a name|docker-container://NAME`,
		"kube-pod://a?namespace=-x":           `is not a name|`,
		"kube-pod://a?context=--as%3Droot":    `is not a name|`,
		"kube-pod://a?pod=b":                  `is unknown|there are: container, context, namespace`,
	} {
		_, err := Parse(in)
		var bad *AddressError
		if !errors.As(err, &bad) {
			t.Errorf("%q: %v", in, err)
			continue
		}
		cause, hint, _ := strings.Cut(want, "|")
		if !strings.Contains(err.Error(), cause) || !strings.Contains(bad.Hint(), hint) {
			t.Errorf("%q:\n got %v | %s\nwant %s", in, err, bad.Hint(), want)
		}
		if strings.Contains(err.Error()+bad.Hint(), "hunter2") {
			t.Errorf("%q: shows the password", in)
		}
	}
}
