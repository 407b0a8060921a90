package ca

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/junit"
	"github.com/cfbuild/cfbuild/pipelines"
)

func TestJudge(t *testing.T) {
	good, refused := Ran{Served: 1}, Ran{Exit: 60, Line: "certificate problem"}
	for name, c := range map[string]struct {
		mode    string
		with    map[string]Ran
		without map[string]Ran
		want    Status
		says    string
	}{
		"verifies":                     {with: one(good), without: one(refused), want: Passed},
		"not there":                    {want: Absent},
		"does not verify":              {with: one(good), without: one(good), want: Failed, says: "succeeds without the authority"},
		"asks without verifying":       {with: one(good), without: one(Ran{Exit: 1, Served: 1}), want: Failed, says: "asked its question"},
		"fails with it":                {with: one(refused), without: one(refused), want: Failed, says: "(exit status 60): certificate problem"},
		"fails silently":               {with: one(Ran{Exit: 3}), without: one(refused), want: Failed, says: "it printed nothing"},
		"says yes and asked nobody":    {with: one(Ran{}), without: one(refused), want: Failed, says: "no request arrived"},
		"says yes without it":          {with: one(good), without: one(Ran{}), want: Failed, says: "though no request arrived"},
		"there only once":              {with: one(good), want: Failed, says: "only one of the two"},
		"build-only fails in the step": {mode: ModeBuildOnly, with: one(refused), without: one(refused), want: Failed, says: "while building"},
		"build-only left in the image": {mode: ModeBuildOnly, with: one(good), without: one(good), want: Failed, says: "must not have the authority"},
	} {
		all := Judge(c.mode, c.with, c.without)
		if len(all) != len(Clients()) || all[0].Client != "curl" {
			t.Fatalf("%s: %d verdicts", name, len(all))
		}
		if v := all[0]; v.Status != c.want || !strings.Contains(v.Why, c.says) || (v.Why == "") != (c.want != Failed) {
			t.Errorf("%s: %s, %q", name, v.Status, v.Why)
		}
		i := Image{Clients: all}
		if red := i.Red(); red != (c.want != Passed) {
			t.Errorf("%s: red %v", name, red)
		}
	}
	if !(Image{Clients: Judge(ModeBoth, one(good), one(refused)), Fault: "x"}).Red() {
		t.Error("an image with a fault is not red")
	}
}

func one(r Ran) map[string]Ran { return map[string]Ran{"curl": r} }

func TestMatrix(t *testing.T) {
	with := map[string]Ran{"curl": {Served: 1}, "git": {Exit: 128, Line: "no such luck"}, "apt": {Served: 2}}
	without := map[string]Ran{"curl": {Exit: 60}, "git": {Exit: 128}, "apt": {Exit: 100}}
	images := []Image{
		{Target: "debian12", Platform: pipelines.Platform{OS: "linux", Architecture: "amd64"}, Clients: Judge(ModeBoth, with, without)},
		{Target: "x", Platform: pipelines.Platform{OS: "linux", Architecture: "arm64"}, Fault: "has no /bin/sh"},
		{Target: "y", Platform: pipelines.Platform{OS: "linux", Architecture: "s390x"}, Clients: Judge(ModeBoth, one(Ran{Served: 1}), one(Ran{Exit: 1}))},
	}
	var b bytes.Buffer
	if err := Write(&b, images); err != nil {
		t.Fatal(err)
	}
	const want = `        debian12     x            y
client  linux/amd64  linux/arm64  linux/s390x
curl    ok           ?            ok
git     FAIL         ?            -
apt     ok           ?            -

debian12 linux/amd64: git: fails with the authority in the image (exit status 128): no such luck
x linux/arm64: has no /bin/sh
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	s := images[0].JUnit()
	count := map[junit.Outcome]int{}
	for _, c := range s.Cases {
		count[c.Outcome]++
	}
	if s.Name != "ca debian12 linux/amd64" || count[junit.Passed] != 2 || count[junit.Failed] != 1 || count[junit.Skipped] != len(Clients())-3 {
		t.Errorf("%s: %v", s.Name, count)
	}
	if c := images[1].JUnit().Cases; len(c) != 1 || c[0].Outcome != junit.Failed {
		t.Errorf("%+v", c)
	}
}

func TestTelling(t *testing.T) {
	for out, want := range map[string]string{
		"curl: (60) SSL certificate problem: self-signed\nMore details here: https://curl.se/docs/sslcerts.html\n\ncurl failed to verify\n": "curl: (60) SSL certificate problem: self-signed",
		"Exception: PKIX path building failed\n\tat sun.security.ssl.Alert.create(Alert.java)\n":                                            "Exception: PKIX path building failed",
		"fetching https://certs.example/tls\nno route to host\n":                                                                            "no route to host",
		"certificate problem\nTLS is off\n":                                                                                                 "certificate problem",
		"":                                                                                                                                  "",
	} {
		if got := telling(Ran{Output: out, Exit: 1}); got != want {
			t.Errorf("%q: %q", out, got)
		}
	}
	if got := telling(Ran{Exit: 124}); got != "took too long" {
		t.Errorf("%q", got)
	}
}

// The class file holds together as the specification wants it; that Java runs it
// is seen end to end.
func TestJavaProbe(t *testing.T) {
	b := javaProbe()
	if !bytes.HasPrefix(b, []byte{0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 49}) || !bytes.Contains(b, []byte("openStream")) {
		t.Errorf("% x", b[:16])
	}
}
