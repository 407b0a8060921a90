package gitlab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	api "gitlab.com/gitlab-org/api/client-go"
)

// there is what GitLab holds of one version of a package.
type there struct {
	// id of the package, 0 when there is none or it cannot be known.
	id int64
	// status is "default", "hidden" or another; empty when there is no package.
	status string
	// files by name, oldest first; GitLab serves the last.
	files map[string][]copyOf
}

// copyOf is one stored file.
type copyOf struct {
	id, size int64
	sha256   string // may be unknown
}

func (t there) newest(name string) (copyOf, bool) {
	all := t.files[name]
	if len(all) == 0 {
		return copyOf{}, false
	}
	return all[len(all)-1], true
}

// lists says whether the token may list packages: a deploy token may not.
func (c *Client) lists() bool { return c.o.Token.Header != DeployToken }

// look asks what there is. A deploy token asks for each name.
func (c *Client) look(ctx context.Context, names []string) (there, error) {
	t := there{files: map[string][]copyOf{}}
	if !c.lists() {
		for _, n := range names {
			f, found, err := c.ask(ctx, n)
			if err != nil {
				return t, err
			}
			if found {
				t.files[n] = []copyOf{f}
			}
		}
		return t, nil
	}
	// Hidden packages are listed only when they are asked for. In this order one
	// that is being made visible is not missed.
	for _, status := range []string{"hidden", ""} {
		found, err := c.packages(ctx, c.o.Package, c.o.Version, status)
		if err != nil {
			return t, err
		}
		for _, p := range found {
			if p.Name == c.o.Package && p.Version == c.o.Version && (t.id == 0 || p.ID < t.id) {
				t.id, t.status = p.ID, p.Status
			}
		}
	}
	if t.id == 0 {
		return t, nil
	}
	files, err := c.files(ctx, t.id)
	if err != nil {
		return t, err
	}
	for _, f := range files {
		t.files[f.FileName] = append(t.files[f.FileName], copyOf{f.ID, f.Size, strings.ToLower(f.FileSHA256)})
	}
	return t, nil
}

// packages lists generic packages, all pages. Name and version narrow the answer;
// GitLab takes the name as a part, and old ones know no version.
func (c *Client) packages(ctx context.Context, name, version, status string) ([]*api.Package, error) {
	opt := &api.ListProjectPackagesOptions{ListOptions: api.ListOptions{PerPage: perPage}, PackageType: api.Ptr("generic"),
		OrderBy: api.Ptr("created_at"), Sort: api.Ptr("asc")}
	for v, p := range map[string]**string{name: &opt.PackageName, version: &opt.PackageVersion, status: &opt.Status} {
		if v != "" {
			*p = api.Ptr(v)
		}
	}
	return pages(ctx, c, "listing packages", func(ctx context.Context, page int64) ([]*api.Package, *api.Response, error) {
		opt.Page = page
		return c.gl.Packages.ListProjectPackages(c.o.Project, opt, api.WithContext(ctx))
	})
}

// files lists the files of a package, oldest first.
func (c *Client) files(ctx context.Context, id int64) ([]*api.PackageFile, error) {
	return pages(ctx, c, "listing files", func(ctx context.Context, page int64) ([]*api.PackageFile, *api.Response, error) {
		opt := &api.ListPackageFilesOptions{ListOptions: api.ListOptions{Page: page, PerPage: perPage}}
		return c.gl.Packages.ListPackageFiles(c.o.Project, id, opt, api.WithContext(ctx))
	})
}

// pages collects all pages of a list.
func pages[T any](ctx context.Context, c *Client, what string, get func(context.Context, int64) ([]T, *api.Response, error)) ([]T, error) {
	var out []T
	for page := int64(1); page != 0; {
		var part []T
		var next int64
		err := c.try(ctx, what, func(ctx context.Context, _ func()) error {
			var resp *api.Response
			var err error
			if part, resp, err = get(ctx, page); err != nil {
				return c.understand(err, resp)
			}
			next = resp.NextPage
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
		if next != 0 && next <= page {
			return nil, fmt.Errorf("%s: %s: page %d is followed by page %d", c.host, what, page, next)
		}
		page = next
	}
	return out, nil
}

// ask is how a token that may not list learns of a file: by the header
// X-Checksum-SHA256 of its download or, where that comes from an object store, by
// reading it.
func (c *Client) ask(ctx context.Context, name string) (copyOf, bool, error) {
	var f copyOf
	found := false
	err := c.try(ctx, "asking for "+name, func(ctx context.Context, alive func()) error {
		resp, err := c.raw(ctx, http.MethodHead, name)
		if err != nil {
			return err
		}
		resp.Body.Close()
		found = resp.StatusCode != http.StatusNotFound
		f = copyOf{size: resp.ContentLength, sha256: strings.ToLower(resp.Header.Get("X-Checksum-SHA256"))}
		if !found || f.sha256 != "" {
			return nil
		}
		if resp, err = c.raw(ctx, http.MethodGet, name); err != nil {
			return err
		}
		defer resp.Body.Close()
		sum := sha256.New()
		f.size, err = io.Copy(sum, &watchedReader{resp.Body, alive})
		if err == nil && resp.StatusCode == http.StatusOK {
			f.sha256 = hex.EncodeToString(sum.Sum(nil))
		}
		return err
	})
	return f, found, err
}

// fetch reads a small file of the package; nil when it is not there.
func (c *Client) fetch(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := c.try(ctx, "reading "+name, func(ctx context.Context, alive func()) error {
		data = nil
		resp, err := c.raw(ctx, http.MethodGet, name)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusNotFound {
			return nil
		}
		data, err = io.ReadAll(io.LimitReader(&watchedReader{resp.Body, alive}, 4<<20))
		return err
	})
	return data, err
}

// raw asks for a file by its name. 404 and the redirect of a HEAD are no errors.
func (c *Client) raw(ctx context.Context, method, name string) (*http.Response, error) {
	path, err := c.gl.GenericPackages.FormatPackageURL(c.o.Project, c.o.Package, c.o.Version, name)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.gl.BaseURL().String(), "/")+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(c.o.Token.Header, c.o.Token.Value)
	req.Header.Set("User-Agent", "cfbuild")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.understand(err, nil)
	}
	if resp.StatusCode >= 400 && resp.StatusCode != http.StatusNotFound {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close()
		return nil, c.statusError(resp, body)
	}
	return resp, nil
}

// watchedReader tells the watch of each read.
type watchedReader struct {
	r     io.Reader
	alive func()
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.alive()
	}
	return n, err
}

// deleteFile removes one stored file; one that is gone already is no error.
func (c *Client) deleteFile(ctx context.Context, pkg, file int64) error {
	return c.gone(ctx, fmt.Sprintf("deleting file %d", file), func(ctx context.Context) (*api.Response, error) {
		return c.gl.Packages.DeletePackageFile(c.o.Project, pkg, file, api.WithContext(ctx))
	})
}

// deletePackage removes one version with all its files.
func (c *Client) deletePackage(ctx context.Context, pkg int64) error {
	return c.gone(ctx, fmt.Sprintf("deleting package %d", pkg), func(ctx context.Context) (*api.Response, error) {
		return c.gl.Packages.DeleteProjectPackage(c.o.Project, pkg, api.WithContext(ctx))
	})
}

func (c *Client) gone(ctx context.Context, what string, remove func(context.Context) (*api.Response, error)) error {
	return c.try(ctx, what, func(ctx context.Context, _ func()) error {
		resp, err := remove(ctx)
		if err == nil || errors.Is(err, api.ErrNotFound) {
			return nil
		}
		return c.understand(err, resp)
	})
}
