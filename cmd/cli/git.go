package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/publishers/tags"
)

var commitRE = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// sourceFacts says what is built: from the variables of a GitLab job, else from the
// checkout. git is asked only if need be, in a job only for what no variable says.
func (p *program) sourceFacts(git bool) (tags.Facts, error) {
	get := p.env.Getenv
	f := tags.Facts{Tag: get("CI_COMMIT_TAG"), Branch: get("CI_COMMIT_BRANCH"), DefaultBranch: get("CI_DEFAULT_BRANCH"),
		MergeRequest: get("CI_MERGE_REQUEST_IID"), RefSlug: get("CI_COMMIT_REF_SLUG"), Commit: get("CI_COMMIT_SHA"), Run: p.env.Now()}
	f.CI = f.Tag+f.RefSlug+f.Commit != ""
	if f.Commit != "" && !commitRE.MatchString(f.Commit) {
		return f, usagef("GitLab sets it to the commit's whole hash", "CI_COMMIT_SHA: %q is not a commit", f.Commit)
	}
	var err error
	if f.CommitTime, err = variableTime(get, "CI_COMMIT_TIMESTAMP"); err != nil {
		return f, err
	}
	epoch, err := p.env.epoch()
	if err != nil {
		return f, err
	}
	created, err := variableTime(get, "CI_PIPELINE_CREATED_AT")
	switch {
	case err != nil:
		return f, err
	case !epoch.IsZero():
		f.Run = epoch
	case !created.IsZero(): // all jobs of a pipeline agree
		f.Run = created
	}
	if git {
		p.checkout(&f)
	}
	return f, nil
}

func variableTime(get func(string) string, name string) (time.Time, error) {
	s := get(name)
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usagef("GitLab writes it as 2006-01-02T15:04:05Z", "%s: %q is not a time", name, s)
	}
	return t, nil
}

// gitTime bounds one call of git.
const gitTime = 20 * time.Second

// git runs git for reading in the working directory. Nothing that a repository
// configures is run: no hook, no monitor of files, no pager.
func (p *program) git(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gitTime)
	defer cancel()
	path, err := exec.LookPath("git")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--no-pager", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"}, args...)...)
	cmd.Dir = p.env.Dir
	cmd.Env = []string{"PATH=" + p.env.Getenv("PATH"), "HOME=" + p.env.Getenv("HOME"), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0"}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if why, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n"); why != "" {
			err = fmt.Errorf("git: %s", strings.TrimPrefix(why, "fatal: "))
		}
	}
	return strings.TrimSpace(string(out)), err
}

// checkout adds what git knows. A fact that git does not know stays empty.
func (p *program) checkout(f *tags.Facts) {
	head, err := p.git("rev-parse", "--verify", "HEAD^{commit}")
	if err != nil {
		f.Why = err.Error()
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			f.Why = "git is not installed"
		}
		return
	}
	if !f.CI {
		f.Commit = head
		if names, err := p.git("tag", "--points-at", "HEAD"); err == nil {
			f.Tag = tags.Latest(strings.Fields(names))
		}
		f.Branch, _ = p.git("symbolic-ref", "--short", "--quiet", "HEAD")
		remote, _ := p.git("symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD")
		f.DefaultBranch = strings.TrimPrefix(remote, "origin/")
	}
	if f.CommitTime.IsZero() {
		if s, err := p.git("show", "--no-patch", "--no-show-signature", "--format=%cI", "HEAD"); err == nil {
			f.CommitTime, _ = time.Parse(time.RFC3339, s)
		}
	}
	// Files that git does not know are left out: what is built may lie among them.
	changed, err := p.git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
	f.Dirty = err != nil || changed != ""
	all, err := p.git("tag", "--list")
	if err != nil {
		return
	}
	f.Tags = strings.Fields(all)
	shallow, err := p.git("rev-parse", "--is-shallow-repository")
	f.AllTags = err == nil && shallow == "false"
}
