package site

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/pelletier/go-toml/v2"
)

// registriesConf is what containers-registries.conf(5), version 2, has for us.
type registriesConf struct {
	Registry []struct {
		Prefix   string `toml:"prefix"`
		Location string `toml:"location"`
		Insecure bool   `toml:"insecure"`
		Blocked  bool   `toml:"blocked"`
		Mirror   []struct {
			Location string `toml:"location"`
			Insecure bool   `toml:"insecure"`
		} `toml:"mirror"`
	} `toml:"registry"`
}

// hostRegistries reads /etc/containers/registries.conf and the files of
// registries.conf.d after it; a later entry for the same prefix wins. Blocked
// registries and patterns (*.example.org) are left out.
func hostRegistries(o LoadOptions, note func(string, ...any)) []Registry {
	const conf = "/etc/containers/registries.conf"
	files := []string{conf}
	list, _ := os.ReadDir(o.root(conf + ".d"))
	for _, e := range list {
		if filepath.Ext(e.Name()) == ".conf" {
			files = append(files, conf+".d/"+e.Name())
		}
	}
	var out []Registry
	for _, f := range files {
		data, err := os.ReadFile(o.root(f))
		if err != nil {
			continue
		}
		var c registriesConf
		if err := toml.Unmarshal(data, &c); err != nil {
			note("%s: left out: %s", f, trimTOML(err))
			continue
		}
		for _, r := range c.Registry {
			g := Registry{Prefix: r.Prefix, Location: r.Location, Insecure: r.Insecure}
			if g.Prefix == "" {
				g.Prefix = r.Location
			}
			if bad := checkLocation(g.Prefix); bad != nil {
				note("%s: left out: prefix %s", f, bad.cause)
				continue
			}
			if r.Blocked {
				note("%s: left out: %s is blocked", f, g.Prefix)
				continue
			}
			for _, m := range r.Mirror {
				if checkLocation(m.Location) == nil {
					g.Mirrors = append(g.Mirrors, RegistryMirror{Location: m.Location, Insecure: m.Insecure})
				}
			}
			if at := slices.IndexFunc(out, func(h Registry) bool { return h.Prefix == g.Prefix }); at >= 0 {
				out[at] = g
			} else {
				out = append(out, g)
			}
		}
	}
	return out
}
