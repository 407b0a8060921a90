// Package debian makes Debian base images from packages, as pure functions of a
// site and a platform.
//
//	img := debian.Debian12(s, p)
//	img := debian.New(debian.Options{Suite: "bookworm", Include: []string{"git"}})(s, p)
//
// An image holds Debian's own packages and nothing else, besides the few files
// described at [Files]: where apt fetches from, how it behaves in a container, and
// the site's certificate authorities.
package debian

import (
	"fmt"
	"slices"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// Recipe is an image as a function of the place and the platform.
type Recipe = func(site.Site, pipelines.Platform) pipelines.Image

// Options chooses what is in an image. The zero value of each field is the
// default; Suite has none.
type Options struct {
	// Suite is the code name: "bullseye", "bookworm", "trixie", "sid".
	Suite string
	// Variant is the base set of packages: "essential", "apt", "minbase"
	// (default), "standard".
	Variant string
	// Components of the archive, default "main".
	Components []string
	// Include and Exclude name packages.
	Include, Exclude []string
	// NoTrust leaves the site's certificate authorities out of the image.
	NoTrust bool
	// Recommends lets apt install recommended packages in the image, as Debian
	// does by default.
	Recommends bool
	// Labels are added to the image's own and win over them.
	Labels map[string]string
}

// Debian11 is bullseye. Its long-term support ended on 2026-08-31.
func Debian11(s site.Site, p pipelines.Platform) pipelines.Image {
	return New(Options{Suite: "bullseye"})(s, p)
}

// Debian12 is bookworm, with long-term support until 2028-06-30.
func Debian12(s site.Site, p pipelines.Platform) pipelines.Image {
	return New(Options{Suite: "bookworm"})(s, p)
}

// Debian13 is trixie, with long-term support until 2030-06-30.
func Debian13(s site.Site, p pipelines.Platform) pipelines.Image {
	return New(Options{Suite: "trixie"})(s, p)
}

// New gives the recipe for some options.
func New(o Options) Recipe {
	return func(s site.Site, p pipelines.Platform) pipelines.Image {
		o := o.withRoots(s)
		var cas []site.Certificate
		if !o.NoTrust {
			cas = s.ImageCAs()
		}
		img := pipelines.From(p, o.bootstrap())
		// Files stand together so that they become one layer, and before the
		// first command, so that it already trusts the site.
		for _, f := range slices.Concat(anchors(cas), Files(o, s)) {
			img = img.Then(f)
		}
		return img.With(merge(cas)).Then(pipelines.Configure{
			Env:    common.Merge(map[string]string{"PATH": common.Path}, clientEnv(cas)),
			Cmd:    []string{"bash"},
			Labels: common.Merge(o.info().Labels(), common.CALabels(cas), o.Labels),
		})
	}
}

func (o Options) bootstrap() pipelines.Bootstrap {
	b := pipelines.Bootstrap{Method: "deb", Variant: o.variant(), Include: o.Include, Exclude: o.Exclude}
	for _, r := range o.repositories() {
		for _, suite := range r.suites {
			b.Sources = append(b.Sources, pipelines.PackageSource{Repository: r.name, Suite: suite, Components: o.components()})
		}
	}
	return b
}

func (o Options) variant() string {
	if o.Variant == "" {
		return "minbase"
	}
	return o.Variant
}

func (o Options) components() []string {
	if len(o.Components) == 0 {
		return []string{"main"}
	}
	return o.Components
}

type repository struct {
	name   string
	suites []string
}

// repositories of a suite: itself with its updates, and security. Unstable has
// neither updates nor security; up to buster security suites were called
// "buster/updates".
func (o Options) repositories() []repository {
	security := o.Suite + "-security"
	switch o.Suite {
	case "":
		return []repository{{"debian", []string{""}}} // refused by Image.Graph, with a reason
	case "sid", "unstable":
		return []repository{{"debian", []string{o.Suite}}}
	case "buster", "stretch":
		security = o.Suite + "/updates"
	}
	return []repository{
		{"debian", []string{o.Suite, o.Suite + "-updates"}},
		{"debian-security", []string{security}},
	}
}

// version is Debian's number for a code name, "" when it has none yet.
func version(suite string) string {
	return map[string]string{"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13"}[suite]
}

func (o Options) info() common.Info {
	title := "Debian " + o.Suite
	if v := version(o.Suite); v != "" {
		title = fmt.Sprintf("Debian %s (%s)", v, o.Suite)
	}
	return common.Info{
		Title:       title,
		Description: title + ", " + o.variant() + " packages",
		Version:     version(o.Suite),
		URL:         "https://www.debian.org/",
	}
}

// hasAPT: only the essential variant comes without apt.
func (o Options) hasAPT() bool { return o.variant() != "essential" || common.Has(o.Include, "apt") }
