package apk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/apk/version"
	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/pipelines"
)

// BranchError: the mirrors answer, and do not have the branch, component or
// architecture. It matches [pipelines.ErrInvalid] where a mirror shows what it has
// instead.
type BranchError struct {
	// What is "branch", "component" or "architecture"; Wanted is its name, in Below.
	What, Wanted, Below string
	// Have are the ones there are, where a mirror shows its directory.
	Have []string
	// Err is what the mirrors answered.
	Err error
}

func (e *BranchError) Error() string {
	s := e.What + " " + e.Wanted
	if e.Below != "" {
		s += " of " + e.Below
	}
	s += ": no mirror has it"
	if len(e.Have) > 0 {
		s += "; there is " + strings.Join(e.Have, ", ")
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is matches [pipelines.ErrInvalid].
func (e *BranchError) Is(target error) bool { return len(e.Have) > 0 && target == pipelines.ErrInvalid }

// Unwrap gives what the mirrors answered.
func (e *BranchError) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *BranchError) Hint() string {
	if len(e.Have) > 0 {
		return "use one of: " + strings.Join(e.Have, ", ")
	}
	return "check the name, and that the mirror's URL is the directory that holds the branches"
}

// explain turns "not found" of the mirrors that answer into what there is instead, as
// far as one of them shows its directories.
func (q asked) explain(ctx context.Context, c *fetch.Client, err error) error {
	var e *fetch.MirrorsError
	if !errors.As(err, &e) || c.Offline {
		return err
	}
	var asks []string
	for _, f := range e.Faults {
		if fetch.NotFound(f.Err) {
			asks = append(asks, f.Mirror)
		}
	}
	for _, m := range asks {
		below := ""
		for _, level := range []struct{ what, name string }{{"branch", q.src.Suite}, {"component", q.comp}, {"architecture", q.arch}} {
			have, ok := directories(ctx, c, fetch.Join(m, below))
			if !ok {
				break
			}
			if !slices.Contains(have, level.name) {
				return &BranchError{What: level.what, Wanted: level.name, Below: strings.Trim(below, "/"), Have: sensible(level.what, have), Err: err}
			}
			below += level.name + "/"
		}
	}
	return err
}

var hrefRE = regexp.MustCompile(`(?i)href="(?:\./)?([A-Za-z0-9][A-Za-z0-9._-]*)/"`)

// directories lists what a web server's page of a directory links to.
func directories(ctx context.Context, c *fetch.Client, url string) ([]string, bool) {
	page, _, err := c.HTTP.ReadAll(ctx, httpx.Request{URL: strings.TrimSuffix(url, "/") + "/", Limit: 1 << 20, Attempts: 1})
	if err != nil {
		return nil, false
	}
	var out []string
	for _, m := range hrefRE.FindAllStringSubmatch(string(page), -1) {
		out = append(out, m[1])
	}
	return out, len(out) > 0
}

var branchRE = regexp.MustCompile(`^(v[0-9]+\.[0-9]+|edge|latest-stable)$`)

// sensible leaves out what cannot be meant, the newest branches last, at most eight.
func sensible(what string, have []string) []string {
	out := slices.Clone(have)
	if what == "branch" {
		out = slices.DeleteFunc(out, func(s string) bool { return !branchRE.MatchString(s) })
	}
	slices.SortFunc(out, func(a, b string) int {
		na, nb := strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")
		if version.Valid(na) && version.Valid(nb) {
			return version.Compare(na, nb)
		}
		return cmp.Compare(a, b)
	})
	out = slices.Compact(out)
	if n := len(out) - 8; n > 0 {
		return append([]string{fmt.Sprintf("%d older", n)}, out[n:]...)
	}
	return out
}
