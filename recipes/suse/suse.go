// Package suse makes openSUSE Leap and SUSE Linux Enterprise base images, from
// packages or from the distribution's own image, as pure functions of a site and a
// platform.
//
//	img := suse.New(suse.Options{Distribution: suse.Leap})(s, p)
//	img := suse.New(suse.Options{Distribution: suse.BCI, Source: common.FromImage})(s, p)
//
// An image holds the distribution's own packages and nothing else, besides the few
// files described at [Files]: where zypper and the language package managers fetch
// from, how zypper behaves in a container, and the site's certificate authorities.
package suse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// Recipe is an image as a function of the place and the platform.
type Recipe = func(site.Site, pipelines.Platform) pipelines.Image

// Distribution is one of the distributions this package knows.
type Distribution string

// The distributions. BCI is SUSE's base container image of SUSE Linux Enterprise 15,
// whose repository needs no subscription. The repositories of SLES 12 do, so its
// image is taken as it is: nothing in it can be upgraded or installed without one.
const (
	Leap   Distribution = "opensuse-leap" // 15.6
	BCI    Distribution = "bci"           // 15 SP7
	SLES12 Distribution = "sles12"        // 12 SP5
)

// Fallback says how an image's zypper falls back from one mirror to the next.
type Fallback string

const (
	// Pair writes a repository with several mirrors twice: the preferred mirror
	// first, and the other way round. zypper takes the newest packages of both, so
	// that a preferred mirror that is old does no harm. It fetches the metadata of
	// both. The default.
	Pair Fallback = ""
	// List writes it once, with a list of mirrors.
	List Fallback = "list"
)

// Options chooses what is in an image. The zero value of each field is the default;
// Distribution has none.
type Options struct {
	Distribution Distribution
	// Source is what the image is made of, default [common.FromPackages]. SLES12
	// is there [common.FromImage] only.
	Source common.Source
	// Image is the reference of the image to start from, for [common.FromImage]
	// only; default the distribution's own.
	Image string
	// Include names packages besides the base set, not for SLES12. Exclude names
	// packages of the base set that are left out, not with [common.FromImage].
	Include, Exclude []string
	// Fallback between mirrors, default [Pair].
	Fallback Fallback
	// Recommends lets zypper install recommended packages, as it does by default.
	Recommends bool
	// Docs keeps documentation of packages that are installed later.
	Docs bool
	// NoTrust leaves the site's certificate authorities out of the image.
	NoTrust bool
	// Languages says which language package managers are configured.
	Languages common.LanguageConfig
	// Labels are added to the image's own and win over them.
	Labels map[string]string
}

// New gives the recipe for some options. Options that make no sense together, and
// platforms that the release is not made for, are a [pipelines.InvalidError] of the
// image's Graph, with the line that called New.
func New(o Options) Recipe {
	check := o.check()
	o.Include, o.Exclude = slices.Clone(o.Include), slices.Clone(o.Exclude)
	return func(s site.Site, p pipelines.Platform) pipelines.Image {
		c := *check
		r := o.release()
		c.Refuse(!slices.Contains(r.platforms(), p.Normalize()), fmt.Sprintf("%s is not made for %s", r.title, p),
			"it is made for "+platformNames(r.platforms()))
		if img, bad := c.Invalid(p); bad {
			return img
		}
		var cas []site.Certificate
		if !o.NoTrust {
			cas = s.ImageCAs()
		}
		img := pipelines.From(p, o.source())
		// Files stand together so that they become one layer, and before the
		// first command, so that it already trusts the site.
		for _, f := range slices.Concat(store.Files(cas), Files(o, s)) {
			img = img.Then(f)
		}
		env := common.Merge(map[string]string{"PATH": common.Path}, store.Env(cas))
		if r.locale != "" {
			env["LC_ALL"] = r.locale
		}
		return img.With(store.Merge(cas), o.upgrade(s, p)).Then(pipelines.Configure{
			Env:    env,
			Cmd:    []string{"/bin/bash"},
			Labels: common.Merge(o.info().Labels(), common.CALabels(cas), o.Labels),
		})
	}
}

func (o Options) check() *common.Options {
	c := common.CheckOptions("recipe " + or(string(o.Distribution), "suse"))
	r := o.release()
	const all = "suse.Leap, suse.BCI or suse.SLES12"
	c.Refuse(o.Distribution == "", "has no distribution", "set Distribution to "+all)
	c.Refuse(r.title == "", fmt.Sprintf("does not know the distribution %q", o.Distribution), "Distribution is "+all)
	image := o.Source == common.FromImage
	c.Refuse(!slices.Contains([]common.Source{common.FromPackages, common.FromImage}, o.Source),
		fmt.Sprintf("does not know the source %q", o.Source), "Source is common.FromPackages or common.FromImage")
	c.Refuse(o.Distribution == SLES12 && !image, "cannot be made from packages: the repositories of "+r.title+" need a subscription", "set Source to common.FromImage")
	c.Refuse(o.Distribution == SLES12 && len(o.Include) > 0, "has Include, but the repositories of "+r.title+" need a subscription",
		"leave Include empty, or add a registered repository and install in steps of your own")
	c.Refuse(o.Image != "" && !image, "has an Image, but is made from packages", "set Source to common.FromImage, or leave Image empty")
	c.Refuse(len(o.Exclude) > 0 && image, "has Exclude, but starts from an image, whose packages are there already",
		"remove them in a Run step, or set Source to common.FromPackages")
	for _, name := range slices.Concat(o.Include, o.Exclude) {
		c.Refuse(name == "" || strings.ContainsAny(name, " \t\n'\"$;&|<>(){}*?\\`") || strings.HasPrefix(name, "-"),
			fmt.Sprintf("%q is not a package name", name), "name packages as rpm -q does")
	}
	c.Refuse(o.Fallback != Pair && o.Fallback != List, fmt.Sprintf("does not know the fallback %q", o.Fallback), "Fallback is suse.Pair or suse.List")
	c.Refuse(!o.Languages.Known(), fmt.Sprintf("does not know the language configuration %q", o.Languages),
		"Languages is common.OwnIndexes, common.AllIndexes or common.NoIndexes")
	return c
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// source is what the image starts from.
func (o Options) source() pipelines.Source {
	r := o.release()
	if o.Source == common.FromImage {
		return pipelines.Pull{Ref: or(o.Image, r.image)}
	}
	b := pipelines.Bootstrap{Method: "rpm", Exclude: o.Exclude}
	for _, name := range slices.Concat(r.include, o.Include) {
		if !slices.Contains(b.Include, name) && !slices.Contains(o.Exclude, name) {
			b.Include = append(b.Include, name)
		}
	}
	for _, x := range r.repositories {
		if x.off {
			continue
		}
		b.Sources = append(b.Sources, pipelines.PackageSource{Repository: x.repository, Suite: x.suite})
	}
	return b
}

func (o Options) info() common.Info {
	r := o.release()
	return common.Info{Title: r.title, Description: r.title + " with zypper", Version: r.version, URL: r.url, Vendor: r.vendor}
}

func platformNames(list []pipelines.Platform) string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}
