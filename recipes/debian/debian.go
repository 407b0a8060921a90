// Package debian makes Debian and Ubuntu base images, from packages or from the
// distribution's own image, as pure functions of a site and a platform.
//
//	img := debian.Debian12(s, p)
//	img := debian.New(debian.Options{Suite: "bookworm", Include: []string{"git"}})(s, p)
//	img := debian.New(debian.Options{Suite: "noble", Source: common.FromImage})(s, p)
//
// An image holds the distribution's own packages and nothing else, besides the few
// files described at [Files]: where apt and the language package managers fetch
// from, how apt behaves in a container, and the site's certificate authorities.
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
	// Suite is the code name: "bullseye", "bookworm", "trixie", "sid", "noble".
	Suite string
	// Distribution is "debian" or "ubuntu". It is known for every release that
	// this package has a target for; other suites are Debian's by default.
	Distribution string
	// Source is what the image is made of, default [common.FromPackages].
	Source common.Source
	// Image is the reference of the image to start from, for Source
	// [common.FromImage] only; default "docker.io/library/debian:SUITE" or
	// "docker.io/library/ubuntu:SUITE".
	Image string
	// Variant is the base set of packages: "essential", "apt", "minbase"
	// (default), "standard". Not with [common.FromImage].
	Variant string
	// Components of the archive, default "main", for Ubuntu "main universe".
	Components []string
	// Include and Exclude name packages. Exclude not with [common.FromImage].
	Include, Exclude []string
	// NoTrust leaves the site's certificate authorities out of the image.
	NoTrust bool
	// Languages says which language package managers are configured.
	Languages common.LanguageConfig
	// Recommends lets apt install recommended packages in the image, as Debian
	// does by default.
	Recommends bool
	// Labels are added to the image's own and win over them.
	Labels map[string]string
}

// Debian10 is buster, from Debian's archive of old releases. Its long-term support
// ended on 2024-06-30.
func Debian10(s site.Site, p pipelines.Platform) pipelines.Image {
	return New(Options{Suite: "buster"})(s, p)
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

// New gives the recipe for some options. Options that make no sense together are a
// [pipelines.InvalidError] of the image's Graph, with the line that called New.
func New(o Options) Recipe {
	check := o.check()
	return func(s site.Site, p pipelines.Platform) pipelines.Image {
		if img, bad := check.Invalid(p); bad {
			return img
		}
		o := o.withRoots(s, p)
		var cas []site.Certificate
		if !o.NoTrust {
			cas = s.ImageCAs()
		}
		img := pipelines.From(p, o.source(p))
		// Files stand together so that they become one layer, and before the
		// first command, so that it already trusts the site.
		for _, f := range slices.Concat(store.Files(cas), Files(o, s, p)) {
			img = img.Then(f)
		}
		return img.With(store.Merge(cas), o.upgrade(s, p)).Then(pipelines.Configure{
			Env:    common.Merge(map[string]string{"PATH": common.Path, "LC_ALL": common.Locale}, store.Env(cas)),
			Cmd:    []string{"bash"},
			Labels: common.Merge(o.info().Labels(), common.CALabels(cas), o.Labels),
		})
	}
}

func (o Options) check() *common.Options {
	c := common.CheckOptions("recipe " + o.release().distribution)
	image := o.Source == common.FromImage
	c.Refuse(o.Distribution != "" && o.Distribution != debianName && o.Distribution != ubuntuName,
		fmt.Sprintf("does not know the distribution %q", o.Distribution), `Distribution is "debian" or "ubuntu"`)
	c.Refuse(o.Suite == "", "has no suite", "set Suite to the code name of a release, such as bookworm or noble")
	c.Refuse(!slices.Contains([]common.Source{common.FromPackages, common.FromImage}, o.Source),
		fmt.Sprintf("does not know the source %q", o.Source), "Source is common.FromPackages or common.FromImage")
	c.Refuse(o.Image != "" && !image, "has an Image, but is made from packages", "set Source to common.FromImage, or leave Image empty")
	c.Refuse(o.Variant != "" && image, "has a Variant, but starts from an image, which has the packages it has",
		"leave Variant empty, or set Source to common.FromPackages")
	c.Refuse(len(o.Exclude) > 0 && image, "has Exclude, but starts from an image, whose packages are there already",
		"purge them in a Run step, or set Source to common.FromPackages")
	c.Refuse(!slices.Contains([]string{"", "essential", "apt", "minbase", "standard"}, o.Variant),
		fmt.Sprintf("does not know the variant %q", o.Variant), "Variant is essential, apt, minbase or standard")
	c.Refuse(o.Recommends && !o.hasAPT(), "has Recommends, but no apt", "include apt, or choose another variant than essential")
	r := o.release()
	for _, name := range o.Components {
		c.Refuse(!slices.Contains(r.allComponents(), name), fmt.Sprintf("has the component %q, which %s does not have", name, r.name()),
			fmt.Sprintf("the components of %s are %s", r.name(), join(r.allComponents())))
	}
	c.Refuse(!o.Languages.Known(), fmt.Sprintf("does not know the language configuration %q", o.Languages),
		"Languages is common.OwnIndexes, common.AllIndexes or common.NoIndexes")
	return c
}

// source is what the image starts from.
func (o Options) source(p pipelines.Platform) pipelines.Source {
	if o.Source == common.FromImage {
		return pipelines.Pull{Ref: o.image()}
	}
	b := pipelines.Bootstrap{Method: "deb", Variant: o.variant(), Include: o.Include, Exclude: o.Exclude}
	for _, r := range o.repositories(p) {
		for _, suite := range r.suites {
			b.Sources = append(b.Sources, pipelines.PackageSource{Repository: r.name, Suite: suite, Components: o.components(), AllowExpired: r.expired})
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

func (o Options) info() common.Info {
	r := o.release()
	title := r.name() + " " + o.Suite
	if r.version != "" {
		title = fmt.Sprintf("%s %s (%s)", r.name(), r.version, o.Suite)
	}
	about := title + ", " + o.variant() + " packages"
	if o.Source == common.FromImage {
		about = title + ", made of " + o.image()
	}
	url := "https://www.debian.org/"
	if r.distribution == ubuntuName {
		url = "https://ubuntu.com/"
	}
	return common.Info{Title: title, Description: about, Version: r.version, URL: url}
}

// hasAPT: only the essential variant comes without apt.
func (o Options) hasAPT() bool { return o.variant() != "essential" || common.Has(o.Include, "apt") }
