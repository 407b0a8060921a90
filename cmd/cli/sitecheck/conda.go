package sitecheck

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path"

	"github.com/cfbuild/cfbuild/internal/httpx"
)

// conda reads the index of a channel's noarch packages. current_repodata.json has
// the newest of each and is a tenth of the size.
func (c *checker) conda(ctx context.Context, m *Mirror) error {
	var first error
	for _, channel := range []string{"conda-forge", "main", "pkgs/main"} {
		for _, file := range []string{"current_repodata.json", "repodata.json.zst", "repodata.json"} {
			base := m.URL + "/" + channel + "/noarch"
			data, resp, err := c.index(ctx, m, base+"/"+file)
			if err != nil {
				first = cmp.Or(first, err)
				var he *httpx.Error
				if errors.As(err, &he) && he.Status == http.StatusNotFound {
					continue
				}
				return err
			}
			m.modified(resp)
			return c.condaPackage(ctx, m, base, path.Ext(file), data)
		}
	}
	return first
}

func (c *checker) condaPackage(ctx context.Context, m *Mirror, base, ext string, data []byte) error {
	type entry struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	}
	var index struct {
		Packages map[string]entry `json:"packages"`
		Conda    map[string]entry `json:"packages.conda"`
	}
	r, err := unpack(ext, data)
	if err == nil {
		err = json.NewDecoder(r).Decode(&index)
	}
	if err != nil {
		if webPage(data) {
			return findf(fixInside, "the index of noarch packages is a web page")
		}
		return findf(fixBroken, "the index of noarch packages cannot be read: %v", err)
	}
	small, size := "", entry{}
	for _, list := range []map[string]entry{index.Packages, index.Conda} {
		for name, e := range list {
			if e.Size > 0 && e.SHA256 != "" && (small == "" || e.Size < size.Size || e.Size == size.Size && name < small) {
				small, size = name, e
			}
		}
	}
	if small == "" {
		m.Answer = "the index is empty"
		return nil
	}
	file, _, err := c.get(ctx, m, base+"/"+small, size.Size+1)
	if err != nil {
		return incomplete("package "+small, err)
	}
	if err := (sum{"sha256", size.SHA256}).check(file, size.Size); err != nil {
		return findf(fixBroken, "incomplete: package %s: %v", small, err)
	}
	m.Package = small
	return nil
}

// modified takes an index's date from the server, where the index has none itself.
func (m *Mirror) modified(resp *httpx.Response) {
	if t, err := http.ParseTime(resp.LastModified); err == nil {
		m.dated(t)
	}
}
