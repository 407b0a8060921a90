package common

import (
	"bytes"
	"slices"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// ForBuilding is the site as if what it has for building were what it has for
// images: a recipe that writes a package manager's files for it gets those to use
// while the image is built.
func ForBuilding(s site.Site) site.Site {
	mirrors := map[string][]site.Mirror{}
	for name := range s.Mirrors {
		for _, u := range s.URLs(name) {
			mirrors[name] = append(mirrors[name], site.Mirror{URL: u})
		}
	}
	keys := map[string]site.Keyring{}
	for name, k := range s.Keyrings {
		k.BuildOnly = false
		keys[name] = k
	}
	s.Mirrors, s.Keyrings = mirrors, keys
	return s
}

// Shown mounts those of the files want over an image that has the files kept which
// differ from them, one by one, so that what a package put beside them is seen too.
func Shown(p pipelines.Platform, want, kept []pipelines.File) []pipelines.Mount {
	img := pipelines.From(p, pipelines.Scratch{})
	var paths []string
	for _, f := range want {
		same := slices.ContainsFunc(kept, func(k pipelines.File) bool { return k.Path == f.Path && bytes.Equal(k.Data, f.Data) })
		if !same {
			img = img.Then(f)
			paths = append(paths, f.Path)
		}
	}
	var out []pipelines.Mount
	for _, path := range paths {
		out = append(out, pipelines.Mount{From: img, Src: path, Target: path})
	}
	return out
}
