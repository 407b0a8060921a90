package gitlab

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/publishers"
)

// What GitLab takes (lib/gitlab/regex/packages.rb). "@" and a path in a file's name
// are newer than many instances, so they are left out.
var (
	packageRE = regexp.MustCompile(`^[A-Za-z0-9._\-+]+$`)
	versionRE = regexp.MustCompile(`^[A-Za-z0-9_+.\-]+$`)
	fileRE    = regexp.MustCompile(`^[A-Za-z0-9._\-+~]+$`)
)

// maxName is GitLab's bound for names and versions, in bytes.
const maxName = 255

// Check says whether a package, a version and names of files are such as GitLab
// takes, before anything is built. The error is a [publishers.PublishError].
func Check(o Options, files ...string) error {
	bad := func(what, value, cause, fix string) error {
		return &publishers.PublishError{Ref: o.ref(), Stage: "name", Err: fmt.Errorf("%s %q: %s", what, value, cause), Fix: fix}
	}
	for _, c := range []struct {
		what, value string
		re          *regexp.Regexp
		chars       string
	}{
		{"package name", o.Package, packageRE, "letters, digits, '.', '_', '-' and '+'"},
		{"version", o.Version, versionRE, "letters, digits, '.', '_', '-' and '+'"},
	} {
		if cause := nameCause(c.value, c.re); cause != "" {
			return bad(c.what, c.value, cause, "GitLab takes "+c.chars+" in a "+c.what)
		}
	}
	for i, f := range files {
		cause := nameCause(f, fileRE)
		switch {
		case cause != "":
		case strings.HasPrefix(f, "~") || strings.HasSuffix(f, "~"):
			cause = "begins or ends with a tilde"
		case f == Sums:
			cause = "is the name of the list of checksums"
		case slices.Contains(files[:i], f):
			cause = "is given twice"
		}
		if cause != "" {
			return bad("file name", f, cause, "GitLab takes letters, digits, '.', '_', '-', '+' and '~' in a file name")
		}
	}
	return nil
}

func nameCause(s string, re *regexp.Regexp) string {
	switch {
	case s == "":
		return "is empty"
	case strings.Contains(s, "/"):
		return "has a slash"
	case strings.Contains(s, ".."):
		return "has two dots in a row"
	case len(s) > maxName:
		return fmt.Sprintf("has %d bytes, at most %d are taken", len(s), maxName)
	case !re.MatchString(s):
		return "has a character that GitLab refuses"
	}
	return ""
}

// check looks at the rest of the options.
func (o Options) check() error {
	bad := func(cause, fix string) error {
		return &publishers.PublishError{Ref: o.ref(), Stage: "options", Err: fmt.Errorf("%s", cause), Fix: fix}
	}
	u, err := url.Parse(o.API)
	switch {
	case o.API == "":
		return bad("no GitLab is named", "in a GitLab job CI_API_V4_URL names it")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return bad("the API is not an http or https URL", "write it as CI_API_V4_URL has it: https://HOST/api/v4")
	case u.User != nil:
		return bad("the API's URL has a user in it", "give the token in a variable")
	case o.Project == "":
		return bad("no project is named", "in a GitLab job CI_PROJECT_ID names it")
	case o.Token.Value == "":
		return bad("there is no token", "a GitLab job has CI_JOB_TOKEN; elsewhere set GITLAB_TOKEN to a token with the scope api")
	case strings.ContainsAny(o.Token.Value, "\r\n \t"):
		return bad("the token of "+o.Token.From+" has blanks in it", "set the variable to the token alone")
	case o.Token.Header != JobToken && o.Token.Header != PrivateToken && o.Token.Header != DeployToken:
		return bad(fmt.Sprintf("token header %q is unknown", o.Token.Header), "there are "+JobToken+", "+PrivateToken+" and "+DeployToken)
	case o.Policy != Refuse && o.Policy != Replace && o.Policy != Add:
		return bad(fmt.Sprintf("policy %q is unknown", string(o.Policy)), "there are refuse, replace and add")
	case o.Policy == Replace && o.Token.Header == DeployToken:
		return bad("a deploy token may not delete, which the policy replace asks for", "use a job token or a personal or project token, or the policy add")
	}
	return nil
}

// ref names the package for people.
func (o Options) ref() string {
	ref := o.Project + "/" + o.Package + "/" + o.Version
	if u, err := url.Parse(o.API); err == nil && u.Host != "" {
		ref = u.Host + "/" + ref
	}
	return strings.TrimRight(ref, "/")
}
