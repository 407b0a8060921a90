// Package junit writes test reports in the subset of JUnit's XML that GitLab reads
// (its documentation, "Unit test reports"): testcase with classname, name, file and
// time; failure, error, skipped and system-out in it. GitLab shows classname as the
// suite, the text of a failure rather than its message attribute, and of several
// cases with one name in one suite only the first.
package junit

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
)

// MaxBytes is the largest file that GitLab takes.
const MaxBytes = 30 << 20

// maxText bounds each text of a case in bytes; of a longer one the end is kept.
const maxText = 16 << 10

// Outcome of a case.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"  // what was tested is not as it has to be
	Errored Outcome = "error"   // it could not be tested
	Skipped Outcome = "skipped" // it was not tested
)

// Suite is a group of cases.
type Suite struct {
	Name  string
	Cases []Case
}

// Case is one test.
type Case struct {
	// Class is the suite that GitLab shows; default: the suite's name.
	Class string
	Name  string
	// File that the test is declared in, "recipes/debian/base.go:12". Optional.
	File    string
	Took    time.Duration
	Outcome Outcome
	// Message is one line, Text the whole of what is wrong; default: Message.
	Message, Text string
	// Output is what the test printed.
	Output string
}

type xmlSuites struct {
	XMLName  xml.Name   `xml:"testsuites"`
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Time     string     `xml:"time,attr"`
	Suites   []xmlSuite `xml:"testsuite"`
}

type xmlSuite struct {
	Name     string    `xml:"name,attr"`
	Tests    int       `xml:"tests,attr"`
	Failures int       `xml:"failures,attr"`
	Errors   int       `xml:"errors,attr"`
	Skipped  int       `xml:"skipped,attr"`
	Time     string    `xml:"time,attr"`
	Cases    []xmlCase `xml:"testcase"`
}

type xmlCase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	File    string   `xml:"file,attr,omitempty"`
	Time    string   `xml:"time,attr"`
	Failure *xmlText `xml:"failure"`
	Error   *xmlText `xml:"error"`
	Skipped *xmlText `xml:"skipped"`
	Out     string   `xml:"system-out,omitempty"`
}

type xmlText struct {
	Message string `xml:"message,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// Marshal gives the whole report. Characters that XML does not have become U+FFFD;
// a case whose class and name were there before gets " (2)" behind its name.
func Marshal(name string, suites []Suite) ([]byte, error) {
	all := xmlSuites{Name: name, Suites: []xmlSuite{}}
	var total time.Duration
	seen := map[[2]string]int{}
	for _, s := range suites {
		x := xmlSuite{Name: s.Name, Tests: len(s.Cases)}
		var sum time.Duration
		for _, c := range s.Cases {
			if c.Class == "" {
				c.Class = s.Name
			}
			key := [2]string{c.Class, c.Name}
			if seen[key]++; seen[key] > 1 {
				c.Name += fmt.Sprintf(" (%d)", seen[key])
			}
			x.add(c)
			sum += c.Took
		}
		x.Time = seconds(sum)
		total += sum
		all.Suites = append(all.Suites, x)
		all.Tests += x.Tests
		all.Failures += x.Failures
		all.Errors += x.Errors
		all.Skipped += x.Skipped
	}
	all.Time = seconds(total)
	b, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("junit report: %d bytes, GitLab takes %d", len(b), MaxBytes)
	}
	return bytes.Join([][]byte{[]byte(xml.Header), b, []byte("\n")}, nil), nil
}

// Write puts a report in a file, whole or not at all.
func Write(path, name string, suites []Suite) error {
	b, err := Marshal(name, suites)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, b, 0o644)
}

func (s *xmlSuite) add(c Case) {
	x := xmlCase{Class: c.Class, Name: c.Name, File: c.File, Time: seconds(c.Took), Out: end(c.Output)}
	text := c.Text
	if text == "" {
		text = c.Message
	}
	t := &xmlText{Message: end(c.Message), Text: end(text)}
	switch c.Outcome {
	case Failed:
		s.Failures++
		x.Failure = t
	case Errored:
		s.Errors++
		x.Error = t
	case Skipped:
		s.Skipped++
		x.Skipped = t
	}
	s.Cases = append(s.Cases, x)
}

func end(s string) string {
	if len(s) > maxText {
		s = "…" + strings.ToValidUTF8(s[len(s)-maxText:], "")
	}
	return s
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
