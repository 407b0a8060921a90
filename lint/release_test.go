package lint

import (
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
	"github.com/cfbuild/cfbuild/site"
)

// The table of ends of life agrees with what our targets declare.
func TestEndsAgree(t *testing.T) {
	n := 0
	for _, target := range recipes.Pipeline(site.Public()).Targets {
		p := amd64()
		if len(target.Platforms) > 0 {
			p = target.Platforms[0]
		}
		job, err := pipelines.NewJob(target, p)
		if err != nil {
			t.Fatal(err)
		}
		name, end := suiteEnd(job.Graph.Base().Op)
		if end == "" {
			continue
		}
		n++
		if target.EndOfLife != end {
			t.Errorf("%s: the target says %q, the table %q for %s", target.Name, target.EndOfLife, end, name)
		}
	}
	if n < 10 {
		t.Errorf("only %d releases were found in the table", n)
	}
}

func TestReleaseEnd(t *testing.T) {
	for in, want := range map[string]string{
		"ID=debian\nVERSION_ID=\"12\"\n":                            "2028-06-30",
		"ID=ubuntu\nVERSION_ID=\"20.04\"\n":                         "2025-05-29",
		"ID=\"centos\"\nNAME=\"CentOS Stream\"\nVERSION_ID=\"8\"\n": "2024-05-31",
		"ID=\"centos\"\nNAME=\"CentOS Linux\"\nVERSION_ID=\"7\"\n":  "2024-06-30",
		"ID=\"rhel\"\nVERSION_ID=\"9.4\"\n":                         "2032-05-31",
		"ID=alpine\nVERSION_ID=3.20.3\n":                            "2026-04-01",
		"ID=\"opensuse-leap\"\nVERSION_ID=\"15.6\"\n":               "2026-04-30",
		"ID=\"sles\"\nVERSION_ID=\"12.5\"\n":                        "2024-10-31",
		"ID=arch\n":                                                 "",
		"":                                                          "",
	} {
		if _, end := releaseEnd([]byte(in)); end != want {
			t.Errorf("%q: %q, want %q", in, end, want)
		}
	}
}
