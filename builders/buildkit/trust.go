//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/stepfiles"
	"github.com/cfbuild/cfbuild/internal/steptrust"
	"github.com/cfbuild/cfbuild/site"
	"github.com/moby/sys/user"
)

// lendScript is read by the shell of a step, where there are authorities to lend.
const lendScript = "/run/cfbuild/lend"

// trustFiles are what the variables of package steptrust name.
var trustFiles = []string{steptrust.Merged, steptrust.Lone, steptrust.APT, steptrust.Java}

// plainShell runs a step's shell as a process of its own: signals do not end the first
// process of a container. Both of its outputs are one, so that lines stay in order.
const plainShell = `/bin/sh "$@" 2>&1; exit $?`

// trustedShell does so through the script, where there is one.
const trustedShell = `if test -s ` + lendScript + `; then . ` + lendScript + `; fi; ` + plainShell

// maxBundle is what a bundle of authorities may be (bytes); a larger file is
// something else.
const maxBundle = 16 << 20

// The lines that stand around what is lent, so that it is told from the same
// authorities put there by the step itself.
const (
	lentMark = "# lent by the builder while a step runs"
	lentEnd  = "# end of what is lent"
)

// lend gives the files that a step sees while it runs, and the script that lends the
// system's own bundles the authorities for that time.
func (s *runStep) lend(ctx context.Context, cas []site.Certificate) (map[string][]byte, error) {
	var system []byte
	if s.l.look != nil {
		t, err := s.l.look.at(ctx, s.below)
		if err != nil {
			return nil, err
		}
		for _, p := range steptrust.Bundles() {
			real, st, err := resolve(ctx, t, p, true)
			if err != nil {
				return nil, err
			}
			if st == nil || !isRegular(st) || st.Size == 0 || st.Size > maxBundle {
				continue
			}
			if system, err = t.read(ctx, real); err != nil {
				return nil, err
			}
			break
		}
	}
	files := steptrust.Files(cas, system)
	files[lendScript] = []byte(script(cas, s.root()))
	return files, nil
}

// root: the step may change what belongs to root.
func (s *runStep) root() bool {
	name, _, _ := strings.Cut(s.user, ":")
	return name == "" || name == "root" || name == "0"
}

// script lends and takes back, in what every shell and the smallest set of tools
// have. A bundle that the step did not touch is afterwards what it was, with its time
// stamp, so that the layer holds nothing of it; from one that the step added to the
// block is cut; one that the step made anew, as the distributions' own tools do, never
// had it. Where a tool is missing, the variables and the files they name are left.
func script(cas []site.Certificate, root bool) string {
	var b strings.Builder
	vars := steptrust.Env()
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		fmt.Fprintf(&b, "test \"${%s+set}\" || export %s=%s\n", k, k, quote(vars[k]))
	}
	if !root {
		return b.String()
	}
	fmt.Fprintf(&b, "lent=/dev/shm/cfbuild-lent\nbundles=%s\nlone=%s\n", quote(strings.Join(steptrust.Bundles(), " ")), steptrust.Lone)
	var hashes []string
	for _, c := range cas {
		if h, ok := c.SubjectHash(); ok {
			hashes = append(hashes, h)
		}
	}
	fmt.Fprintf(&b, "hashes=%s\ndirs=%s\nmark=%s\nend=%s\n", quote(strings.Join(hashes, " ")), quote(strings.Join(steptrust.Directories(), " ")), quote(lentMark), quote(lentEnd))
	b.WriteString(lendBody)
	return b.String()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// lendBody is the part of the script that is always the same. The variable names it
// uses are not exported, so the step does not see them.
const lendBody = `for t in cat cp grep ln ls mkdir readlink rm sed sha256sum tail touch; do
	command -v $t >/dev/null 2>&1 || lent=
done
if test -z "$lent" || ! mkdir -m 700 $lent 2>/dev/null; then
	/bin/sh "$@" 2>&1
	exit $?
fi
{ echo "$mark"; cat $lone; echo "$end"; } >$lent/block
i=0
for f in $bundles; do
	f=$(readlink -f $f 2>/dev/null)
	test -n "$f" && test -f "$f" && test "$(ls -ln $f | { read m n r; echo $n; })" = 1 || continue
	case " $seen " in *" $f "*) continue ;; esac
	seen="$seen $f"
	i=$((i+1))
	cp -p $f $lent/old.$i || continue
	test -z "$(tail -c 1 $f)" || echo >>$f
	cat $lent/block >>$f
	cp $f $lent/new.$i
done
for d in $dirs; do
	test -d $d || continue
	for h in $hashes; do
		n=0
		while test -e $d/$h.$n || test -L $d/$h.$n; do n=$((n+1)); done
		ln -s $lone $d/$h.$n && links="$links $d/$h.$n"
	done
done
/bin/sh "$@" 2>&1
status=$?
for l in $links; do
	test "$(readlink $l 2>/dev/null)" != $lone || rm -f $l
done
i=0
for f in $seen; do
	i=$((i+1))
	test -f $f && test ! -L $f && test -f $lent/new.$i || continue
	if test "$(sha256sum <$f)" = "$(sha256sum <$lent/new.$i)"; then
		cat $lent/old.$i >$f && touch -r $lent/old.$i $f
	elif grep -qF "$mark" $f; then
		sed "/^$mark\$/,/^$end\$/d" $f >$lent/cut && cat $lent/cut >$f
	fi
done
rm -rf $lent
exit $status
`

// ids finds the numbers of the step's user in the image.
func (s *runStep) ids(ctx context.Context) (uid, gid int, err error) {
	if s.user == "" || s.user == "root" || s.user == "0" || s.user == "0:0" || s.user == "root:root" {
		return 0, 0, nil
	}
	if u, g, ok := stepfiles.Owner(s.user); ok {
		return u, g, nil
	}
	if s.l.look == nil {
		return 0, 0, errNobodyLooks
	}
	t, err := s.l.look.at(ctx, s.below)
	if err != nil {
		return 0, 0, err
	}
	var files [2]bytes.Buffer
	for i, p := range []string{"/etc/passwd", "/etc/group"} {
		real, st, err := resolve(ctx, t, p, true)
		if err != nil {
			return 0, 0, err
		}
		if st == nil || !isRegular(st) {
			continue
		}
		b, err := t.read(ctx, real)
		if err != nil {
			return 0, 0, err
		}
		files[i].Write(b)
	}
	u, err := user.GetExecUser(s.user, &user.ExecUser{Home: "/"}, &files[0], &files[1])
	if err != nil {
		return 0, 0, fmt.Errorf("user %q: %w", s.user, err)
	}
	return u.Uid, u.Gid, nil
}
