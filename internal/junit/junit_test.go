package junit

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// read is the part of a report that GitLab's parser looks at.
type read struct {
	XMLName xml.Name `xml:"testsuites"`
	Tests   int      `xml:"tests,attr"`
	Suites  []struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Time     string `xml:"time,attr"`
		Cases    []struct {
			Class   string  `xml:"classname,attr"`
			Name    string  `xml:"name,attr"`
			File    string  `xml:"file,attr"`
			Time    float64 `xml:"time,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
			Skipped *string `xml:"skipped"`
			Out     string  `xml:"system-out"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func TestReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "junit.xml")
	long := "start " + strings.Repeat("ä", maxText) + " end"
	err := Write(path, "cfbuild", []Suite{{Name: "debian12 linux/amd64", Cases: []Case{
		{Name: "file /etc/passwd", File: "debian/base.go:12", Took: 1500 * time.Millisecond, Outcome: Passed, Output: long},
		{Name: "a <b> & \"c\"", Outcome: Failed, Message: "want 1, got 2", Text: "bell \a and\x00 \xff bytes"},
		{Name: "x", Outcome: Errored, Message: "no builder"},
		{Name: "x", Class: "own", Outcome: Skipped, Message: "not here"},
		{Name: "x", Outcome: Passed},
	}}, {Name: "empty"}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(b) {
		t.Error("not UTF-8")
	}
	var r read
	if err := xml.Unmarshal(b, &r); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if r.Tests != 5 || len(r.Suites) != 2 {
		t.Fatalf("%+v", r)
	}
	s := r.Suites[0]
	if s.Name != "debian12 linux/amd64" || s.Tests != 5 || s.Failures != 1 || s.Errors != 1 || s.Skipped != 1 || s.Time != "1.500" {
		t.Errorf("%+v", s)
	}
	c := s.Cases
	if c[0].Class != s.Name || c[0].File != "debian/base.go:12" || c[0].Time != 1.5 || c[0].Failure != nil || c[0].Error != nil {
		t.Errorf("%+v", c[0])
	}
	if !strings.HasPrefix(c[0].Out, "…") || !strings.HasSuffix(c[0].Out, " end") || len(c[0].Out) > maxText+8 {
		t.Errorf("output of %d bytes", len(c[0].Out))
	}
	if c[1].Name != `a <b> & "c"` || c[1].Failure == nil || *c[1].Failure != "bell \uFFFD and\uFFFD \uFFFD bytes" || !strings.Contains(string(b), `message="want 1, got 2"`) {
		t.Errorf("%+v\n%s", c[1], b)
	}
	// GitLab shows the text, not the message.
	if c[2].Error == nil || *c[2].Error != "no builder" || c[3].Skipped == nil || c[3].Class != "own" {
		t.Errorf("%+v %+v", c[2], c[3])
	}
	if c[4].Name != "x (2)" {
		t.Errorf("a name that was there before: %q", c[4].Name)
	}
}

func TestTooLargeIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "junit.xml")
	cases := make([]Case, MaxBytes/maxText+1)
	for i := range cases {
		cases[i].Output = strings.Repeat("x", maxText)
	}
	if err := Write(path, "x", []Suite{{Cases: cases}}); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was written")
	}
}
