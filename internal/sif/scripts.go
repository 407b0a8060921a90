package sif

import "strings"

// runscript starts the image's Entrypoint and Cmd: arguments take the place of Cmd, as
// with docker run. As Apptainer does, arguments go through the shell once more, unless
// it runs with --no-eval. An image that has neither starts a shell.
//
// In an image without /bin/sh Apptainer has to interpret it. It does so with scripts that
// have one certain line (internal/pkg/runtime/engine/apptainer/process_linux.go); here it
// is never reached.
func runscript(entrypoint, cmd []string, shell bool) string {
	var b strings.Builder
	b.WriteString(`#!/bin/sh
# Arguments take the place of Cmd.
if [ $# -gt 0 ]; then
	if [ -z "${APPTAINER_NO_EVAL:-}${SINGULARITY_NO_EVAL:-}" ]; then
		words=
		for word in "$@"; do words="$words \"$word\""; done
		eval "set -- $words"
	fi
`)
	if len(cmd) > 0 {
		b.WriteString("else\n\tset --")
		for _, w := range cmd {
			b.WriteString(" " + quote(w))
		}
		b.WriteString("\n")
	}
	b.WriteString("fi\n")
	if len(entrypoint) > 0 {
		b.WriteString("set --")
		for _, w := range entrypoint {
			b.WriteString(" " + quote(w))
		}
		b.WriteString(" \"$@\"\n")
	}
	if len(entrypoint)+len(cmd) == 0 {
		b.WriteString("[ $# -gt 0 ] || set -- /bin/sh\n")
	}
	b.WriteString("exec \"$@\"\n")
	if !shell {
		b.WriteString("# Apptainer's own shell runs this script, because of the next line: the image has none.\n" +
			"eval \"set ${SINGULARITY_OCI_RUN}\"\n")
	}
	return b.String()
}

// The actions are what programs older than Apptainer 1.0 start; later ones have their own.
const (
	sourceEnv = `#!/bin/sh
for file in /.singularity.d/env/*.sh; do
	[ ! -f "$file" ] || . "$file"
done
`
	actionExec = sourceEnv + `exec "$@"
`
	actionRun = sourceEnv + `exec /.singularity.d/runscript "$@"
`
	actionShell = sourceEnv + `for shell in "${APPTAINER_SHELL:-${SINGULARITY_SHELL:-}}" /bin/bash /bin/sh; do
	[ ! -x "$shell" ] || exec "$shell" "$@"
done
echo "this image has no shell" >&2
exit 1
`
	// The first process waits for the signal before it lets an instance run.
	actionStart = `#!/bin/sh
kill -CONT 1
for file in /.singularity.d/env/*.sh; do
	[ ! -f "$file" ] || . "$file"
done
exec /.singularity.d/startscript "$@"
`
	actionTest = sourceEnv + `[ ! -x /.singularity.d/test ] || exec /.singularity.d/test "$@"
echo "this image has no test" >&2
`
	// Instances of OCI images run nothing of their own, as with Apptainer.
	startscript = `#!/bin/sh
# nothing is started in instances
`
	environmentHere = `#!/bin/sh
# Variables for this image can be set here.
`
	// Apptainer binds the host's libraries, such as those of GPUs, to libs.
	envLibs = `#!/bin/sh
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/.singularity.d/libs"
PS1="Apptainer> "
export LD_LIBRARY_PATH PS1
`
	envPath = `#!/bin/sh
PATH="${SING_USER_DEFINED_PREPEND_PATH:+$SING_USER_DEFINED_PREPEND_PATH:}$PATH${SING_USER_DEFINED_APPEND_PATH:+:$SING_USER_DEFINED_APPEND_PATH}"
PATH="${SING_USER_DEFINED_PATH:-$PATH}"
unset SING_USER_DEFINED_PREPEND_PATH SING_USER_DEFINED_APPEND_PATH SING_USER_DEFINED_PATH
export PATH
`
)
