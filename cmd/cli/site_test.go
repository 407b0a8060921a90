package cli

import (
	"testing"

	"github.com/cfbuild/cfbuild/cmd/cli/sitecheck"
)

// The exit codes of site check, as its help has them.
func TestCheckCode(t *testing.T) {
	group := func(usable bool) sitecheck.Group { return sitecheck.Group{Usable: usable} }
	for _, c := range []struct {
		r    sitecheck.Result
		code int
	}{
		{sitecheck.Result{}, ExitDone},
		{sitecheck.Result{Repositories: []sitecheck.Group{group(true)}, Indexes: []sitecheck.Group{group(true)}}, ExitDone},
		{sitecheck.Result{Repositories: []sitecheck.Group{group(true), group(false)}}, ExitCheck},
		{sitecheck.Result{Repositories: []sitecheck.Group{group(true)}, Registries: []sitecheck.Group{group(false)}}, ExitCheck},
		{sitecheck.Result{Repositories: []sitecheck.Group{group(false)}, Indexes: []sitecheck.Group{group(false)}}, ExitOther},
		{sitecheck.Result{CAs: []sitecheck.Check{{Status: sitecheck.Warning}}}, ExitDone},
		{sitecheck.Result{CAs: []sitecheck.Check{{Status: sitecheck.Failed}}}, ExitCheck},
	} {
		if got := checkCode(c.r); got != c.code {
			t.Errorf("%+v: %d, want %d", c.r, got, c.code)
		}
	}
}
