package cli

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

const maxSecret = 500 << 10 // bytes; BuildKit's bound too

var secretID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// secrets reads --secret id=NAME,src=FILE and id=NAME,env=VAR. Values are never
// on the command line itself, where other users could read them.
func (p *program) secrets(specs []string) (map[string][]byte, error) {
	const form = "write it as --secret id=NAME,src=FILE or --secret id=NAME,env=VARIABLE"
	out := map[string][]byte{}
	for _, spec := range specs {
		fields := map[string]string{}
		for _, f := range strings.Split(spec, ",") {
			k, v, ok := strings.Cut(f, "=")
			switch {
			case !ok || v == "":
				return nil, usagef(form, "--secret: a part of it is not KEY=VALUE") // not shown: it may be the secret
			case k == "source":
				k = "src"
			case k != "id" && k != "src" && k != "env":
				return nil, usagef(form, "--secret: unknown key %q", k)
			}
			fields[k] = v
		}
		id := fields["id"]
		switch {
		case id == "":
			return nil, usagef(form, "--secret: has no id")
		case !secretID.MatchString(id):
			return nil, usagef("use letters, digits, '.', '_' and '-'", "--secret: id %q: is not a legal name", id)
		case (fields["src"] == "") == (fields["env"] == ""):
			return nil, usagef(form, "--secret: %s: needs exactly one of src and env", id)
		case fields["env"] != "":
			v := p.env.Getenv(fields["env"])
			if v == "" {
				return nil, usagef("", "--secret: %s: variable %s is not set", id, fields["env"])
			}
			out[id] = []byte(v)
			continue
		}
		b, err := os.ReadFile(p.env.path(fields["src"]))
		if err != nil {
			return nil, usagef("", "--secret: %s: %w", id, err)
		}
		if len(b) > maxSecret {
			return nil, usagef("", "--secret: %s: %s has %d bytes, at most %d are taken", id, fields["src"], len(b), maxSecret)
		}
		out[id] = b
	}
	return out, nil
}

// secretsThere says which secret a step needs that was not given.
func secretsThere(pl pipelines.Plan, have map[string][]byte) error {
	for _, j := range pl.Jobs {
		for _, n := range j.Graph.Nodes {
			r, ok := n.Op.(pipelines.Run)
			if !ok {
				continue
			}
			for _, s := range r.Secrets {
				if _, ok := have[s.ID]; ok || s.Optional {
					continue
				}
				fix := "give it with --secret id=" + s.ID + ",src=FILE or ,env=VARIABLE"
				if near := pipelines.Nearest(s.ID, slices.Sorted(maps.Keys(have)), 1); len(near) > 0 {
					fix = fmt.Sprintf("%s was given; %s", near[0], fix)
				}
				at := ""
				if w := n.Where.String(); w != "" {
					at = w + ": "
				}
				return usagef(fix, "%s%s: %s: secret %q was not given", at, j.ID, n.Name, s.ID)
			}
		}
	}
	return nil
}
