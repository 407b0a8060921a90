package deffile

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Configure only takes note; [lowering.image] writes it.
func (l *lowering) Configure(_ context.Context, _ pipelines.Node, c chain, o pipelines.Configure) (chain, error) {
	k := c.config
	k.Env, k.Labels = merged(k.Env, o.Env), merged(k.Labels, o.Labels)
	if o.Entrypoint != nil {
		k.Entrypoint = o.Entrypoint
	}
	if o.Cmd != nil {
		k.Cmd = o.Cmd
	}
	k.User, k.WorkingDir, k.StopSignal = or(o.User, k.User), or(o.WorkingDir, k.WorkingDir), or(o.StopSignal, k.StopSignal)
	k.Author = or(o.Author, k.Author)
	k.Volumes = append(slices.Clip(k.Volumes), o.Volumes...)
	k.ExposedPorts = append(slices.Clip(k.ExposedPorts), o.ExposedPorts...)
	c.config = k
	return c, nil
}

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	return out
}

var shellName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// image ends the last stage with what the image's configuration says. Definition files
// have no place for a user, a directory, a signal, volumes and ports: Apptainer starts
// programs as who called it, where they are.
func (l *lowering) image(c chain) Stage {
	s := l.finish(c)
	k := c.config
	left := func(format string, args ...any) {
		s.Comments = append(s.Comments, "Left out, for definition files cannot say it: "+fmt.Sprintf(format, args...))
	}
	for _, x := range []struct{ what, value string }{{"user", k.User}, {"working directory", k.WorkingDir}, {"stop signal", k.StopSignal},
		{"volumes", strings.Join(k.Volumes, " ")}, {"ports", strings.Join(k.ExposedPorts, " ")}, {"author", k.Author}} {
		if x.value != "" {
			left("%s %s", x.what, x.value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.Env)) {
		if v := k.Env[name]; shellName.MatchString(name) && plain(v) {
			s.Environment = append(s.Environment, "export "+name+"="+quote(v))
		} else {
			left("variable %q", name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(k.Labels)) {
		if f := (Field{key, k.Labels[key]}); label(f) && plain(f.Value) {
			s.Labels = append(s.Labels, f)
		} else {
			left("label %q", key)
		}
	}
	if words := slices.Concat(k.Entrypoint, k.Cmd); len(words) > 0 {
		if !plain(strings.Join(words, "")) {
			left("command %q", words)
			return s
		}
		if len(k.Cmd) > 0 { // arguments take its place
			s.Runscript = append(s.Runscript, "[ $# -gt 0 ] || set -- "+quoteAll(k.Cmd))
		}
		s.Runscript = append(s.Runscript, strings.TrimRight("exec "+quoteAll(k.Entrypoint), " ")+` "$@"`)
	}
	title, text := k.Labels["org.opencontainers.image.title"], k.Labels["org.opencontainers.image.description"]
	if plain(title + text) {
		s.Help = strings.TrimSpace(title + "\n" + text)
	}
	return s
}
