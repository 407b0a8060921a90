package repo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/internal/httpx"
)

// whatExists adds to the error about a repository that is not there what is: the
// nearest directory above it that a mirror lists.
func (c *Client) whatExists(ctx context.Context, err error, dir string) error {
	var me *fetch.MirrorsError
	if !errors.As(err, &me) {
		return err
	}
	for _, f := range me.Faults {
		if !fetch.NotFound(f.Err) {
			continue
		}
		for up := path.Dir(dir); ; up = path.Dir(up) {
			names := c.list(ctx, f.Mirror, up)
			if len(names) > 0 {
				where := "at " + httpx.Redact(f.Mirror)
				if up != "." {
					where = "below " + up
				}
				me.Missing = fmt.Sprintf("%s there is: %s", where, strings.Join(names, ", "))
				return fmt.Errorf("%w: %w", ErrRelease, me)
			}
			if up == "." {
				break
			}
		}
	}
	return err
}

var href = regexp.MustCompile(`(?i)href="([^"?#]+)/"`)

// list gives the directories that a server's page about a directory links to.
func (c *Client) list(ctx context.Context, mirror, dir string) []string {
	data, _, err := c.HTTP.ReadAll(ctx, httpx.Request{URL: strings.TrimSuffix(fetch.Join(mirror, dir), ".") + "/", Limit: 1 << 20, Attempts: 1})
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range href.FindAllSubmatch(data, -1) {
		name, err := url.PathUnescape(strings.TrimPrefix(string(m[1]), "./"))
		if err != nil || name == "" || name == ".." || strings.Contains(name, "/") || len(out) == 40 {
			continue
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
