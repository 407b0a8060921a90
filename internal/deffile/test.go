package deffile

import (
	"fmt"

	"github.com/cfbuild/cfbuild/pipelines"
)

// checks writes declared tests as a script: of files whether they are there and what they
// are, of packages (dpkg, rpm) whether they are installed, and commands that are expected to
// succeed and whose output is not looked at. The rest is left to cfbuild run --test.
func checks(ts []pipelines.Test) string {
	var s script
	for _, t := range ts {
		t, where := pipelines.Declared(t)
		before := s.b.Len()
		switch t := t.(type) {
		case pipelines.TestFile:
			p := quote(t.Path)
			switch {
			case special.MatchString(p):
			case t.Absent:
				s.line("[ ! -e %s ]", p)
				s.line("[ ! -L %s ]", p)
			case t.Link != "":
				s.line(`[ "$(readlink %s)" = %s ]`, p, quote(t.Link))
			case t.Dir:
				s.line("[ -d %s ]", p)
			default:
				s.line("[ -f %s ]", p)
			}
		case pipelines.TestPackage:
			// A removed package whose configuration stays is not installed.
			asks := fmt.Sprintf(`if [ -d /var/lib/dpkg/info ]; then dpkg-query -f '${db:Status-Status} ' -W %s | grep -q '^installed'; else rpm -q %[1]s; fi >/dev/null 2>&1`, quote(t.Name))
			if t.Absent {
				s.line("if (%s); then echo %s >&2; exit 1; fi", asks, quote(t.Name+" is installed"))
			} else {
				s.line("%s", asks)
			}
		case pipelines.TestCommand:
			if t.ExitCode != 0 {
				continue
			}
			s.run(pipelines.Run{Shell: t.Shell, Args: t.Args})
		}
		if w := where.String(); w != "" && s.b.Len() > before {
			s.line("# ^ %s", w)
		}
	}
	if s.b.Len() == 0 {
		return ""
	}
	return "set -e\n" + s.b.String()
}
