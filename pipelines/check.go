package pipelines

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	ownerRE  = regexp.MustCompile(`^\d+:\d+$`)
	envRE    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	idRE     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// Debian policy 5.6.1, with an architecture as apt has it.
	debNameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?$`)
	// rpm's and apk's: letters of both cases, '_' too; rpm(8) NAME.ARCH is in it.
	nameRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_+.-]*$`)
)

// checkNode says what is wrong with one operation, with the author's line.
func checkNode(n *node) error {
	bad := func(cause, fix string) error {
		return &InvalidError{Where: n.where, What: describe(n.op), Cause: cause, Fix: fix}
	}
	if n.op == nil {
		return &InvalidError{Where: n.where, What: "step", Cause: "is nil"}
	}
	if n.platform.OS == "" {
		if _, isStep := n.op.(Step); isStep {
			return bad("stands on an empty image", "start the image with pipelines.From")
		}
		return bad("has no platform", "pass a platform to pipelines.From")
	}
	switch o := n.op.(type) {
	case Pull:
		if o.Ref == "" || strings.ContainsAny(o.Ref, " \t\n") || strings.Contains(o.Ref, "://") {
			return bad(fmt.Sprintf("%q is not an image reference", o.Ref), "write it as docker pull takes it: registry/name:tag")
		}
	case Layout:
		if o.Path == "" && o.Digest == "" {
			return bad("has no path", "name the OCI layout directory")
		}
		if o.Digest != "" && !digestRE.MatchString(o.Digest) {
			return bad(fmt.Sprintf("digest %q is not sha256:HEX", o.Digest), "")
		}
	case Local:
		if o.Path == "" {
			return bad("has no path", "name a directory of this machine")
		}
		for _, p := range slices.Concat(o.Include, o.Exclude) {
			if _, err := path.Match(p, ""); err != nil {
				return bad(fmt.Sprintf("pattern %q: %v", p, err), "")
			}
		}
	case Bootstrap:
		return checkBootstrap(o, bad)
	case Run:
		if len(n.inputs) != 1+len(o.Mounts) {
			return bad("a mount has no image", "set From to an image")
		}
		return checkRun(o, bad)
	case Copy:
		return checkCopy(n, o, bad)
	case File:
		return checkFile(o, bad)
	case Remove:
		if len(o.Paths) == 0 {
			return bad("names no path", "")
		}
		for _, p := range o.Paths {
			if err := absolute(p); err != "" || path.Clean(p) == "/" {
				return bad(fmt.Sprintf("path %q %s", p, or(err, "is the root")), "")
			}
		}
	case Configure:
		return checkConfigure(o, bad)
	}
	return nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// absolute says what is wrong with a path in the image, "" if nothing.
func absolute(p string) string {
	switch {
	case !strings.HasPrefix(p, "/"):
		return "is not absolute"
	case strings.ContainsRune(p, 0):
		return "holds a NUL byte"
	case slices.Contains(strings.Split(p, "/"), ".."):
		return "holds a .. element"
	}
	return ""
}

type complain func(cause, fix string) error

func checkBootstrap(o Bootstrap, bad complain) error {
	if o.Method == "" {
		return bad("has no method", `set Method to "deb", "rpm" or "apk"`)
	}
	if len(o.Sources) == 0 {
		return bad("has no package source", "name at least one repository and suite")
	}
	for _, s := range o.Sources {
		if s.Suite == "" {
			return bad("a package source has no suite", "")
		}
		if s.Repository == "" && len(s.Mirrors) == 0 {
			return bad("package source "+s.Suite+" has neither a repository nor mirrors", "")
		}
	}
	for _, p := range slices.Concat(o.Include, o.Exclude) {
		if !packageName(o.Method).MatchString(p) {
			return bad(fmt.Sprintf("%q is not a package name", p), "")
		}
	}
	return nil
}

// packageName is what packages are called where a bootstrapper of that method gets
// them. Names never hold what a shell or a file system gives a meaning to.
func packageName(method string) *regexp.Regexp {
	if method == "deb" {
		return debNameRE
	}
	return nameRE
}

func checkRun(o Run, bad complain) error {
	if (o.Shell == "") == (len(o.Args) == 0) {
		return bad("needs exactly one of Shell and Args", "Shell is a script, Args a command and its arguments")
	}
	if o.Network != "" && o.Network != NetworkHost && o.Network != NetworkNone {
		return bad(fmt.Sprintf("network %q is unknown", o.Network), "use pipelines.NetworkHost or pipelines.NetworkNone")
	}
	for k := range o.Env {
		if !envRE.MatchString(k) {
			return bad(fmt.Sprintf("%q is not a variable name", k), "")
		}
	}
	if o.Dir != "" && absolute(o.Dir) != "" {
		return bad(fmt.Sprintf("directory %q %s", o.Dir, absolute(o.Dir)), "")
	}
	if o.Timeout < 0 {
		return bad("timeout is negative", "")
	}
	for _, s := range o.Secrets {
		if !idRE.MatchString(s.ID) {
			return bad(fmt.Sprintf("secret ID %q is not letters, digits, '.', '_' and '-'", s.ID), "")
		}
		if s.Env != "" && (s.Target != "" || !envRE.MatchString(s.Env)) {
			return bad("secret "+s.ID+" needs either a Target path or an Env name", "")
		}
		if s.Target != "" && absolute(s.Target) != "" {
			return bad(fmt.Sprintf("secret target %q %s", s.Target, absolute(s.Target)), "")
		}
	}
	for _, m := range o.Mounts {
		if why := or(absolute(m.Src), absolute(m.Target)); why != "" || path.Clean(m.Target) == "/" {
			return bad(fmt.Sprintf("mount of %q on %q %s", m.Src, m.Target, or(why, "is the root")), "")
		}
	}
	for _, r := range o.Roots {
		if why := absolute(r); why != "" || path.Clean(r) == "/" {
			return bad(fmt.Sprintf("root %q %s", r, or(why, "is the image's own")), "")
		}
	}
	for _, c := range o.Caches {
		if why := absolute(c.Target); why != "" {
			return bad(fmt.Sprintf("cache target %q %s", c.Target, why), "")
		}
	}
	return nil
}

func checkCopy(n *node, o Copy, bad complain) error {
	if len(n.inputs) < 2 {
		return bad("has no image to copy from", "set From to an image, or to pipelines.From(p, pipelines.Local{Path: …})")
	}
	if len(o.Src) == 0 {
		return bad("names no source path", "")
	}
	if why := absolute(o.Dst); why != "" {
		return bad(fmt.Sprintf("destination %q %s", o.Dst, why), "")
	}
	for _, s := range o.Src {
		if _, err := path.Match(s, ""); err != nil {
			return bad(fmt.Sprintf("source %q: %v", s, err), "")
		}
		if slices.Contains(strings.Split(s, "/"), "..") {
			return bad(fmt.Sprintf("source %q holds a .. element", s), "")
		}
	}
	if o.Owner != "" && !ownerRE.MatchString(o.Owner) {
		return bad(fmt.Sprintf("owner %q is not uid:gid in numbers", o.Owner), "")
	}
	if len(o.Src) > 1 && !strings.HasSuffix(o.Dst, "/") {
		return bad("copies several sources to a destination that is not a directory", "end Dst with /")
	}
	return nil
}

func checkFile(o File, bad complain) error {
	if why := absolute(o.Path); why != "" || path.Clean(o.Path) == "/" {
		return bad(fmt.Sprintf("path %q %s", o.Path, or(why, "is the root")), "")
	}
	if (o.Link != "" && (o.Dir || len(o.Data) > 0)) || (o.Dir && len(o.Data) > 0) {
		return bad("is more than one of a file with Data, a Link and a Dir", "")
	}
	if o.Mode > 0o7777 {
		return bad(fmt.Sprintf("mode %#o is more than permission bits", o.Mode), "write Unix numbers such as 0644 or 04755")
	}
	if o.Owner != "" && !ownerRE.MatchString(o.Owner) {
		return bad(fmt.Sprintf("owner %q is not uid:gid in numbers", o.Owner), "")
	}
	return nil
}

func checkConfigure(o Configure, bad complain) error {
	for k, v := range o.Env {
		if !envRE.MatchString(k) || strings.ContainsRune(v, 0) {
			return bad(fmt.Sprintf("%q is not a variable", k), "")
		}
	}
	for k := range o.Labels {
		if k == "" {
			return bad("a label has no name", "")
		}
	}
	if o.WorkingDir != "" && absolute(o.WorkingDir) != "" {
		return bad(fmt.Sprintf("working directory %q %s", o.WorkingDir, absolute(o.WorkingDir)), "")
	}
	for _, v := range o.Volumes {
		if absolute(v) != "" {
			return bad(fmt.Sprintf("volume %q %s", v, absolute(v)), "")
		}
	}
	return nil
}
