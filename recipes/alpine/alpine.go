// Package alpine makes Alpine Linux base images, from packages or from the
// distribution's own image, as pure functions of a site and a platform.
//
//	img := alpine.New(alpine.Options{Release: "3.24"})(s, p)
//	img := alpine.New(alpine.Options{Release: "3.24", Source: common.FromImage, Include: []string{"git"}})(s, p)
//
// An image holds Alpine's own packages and nothing else, besides the few files
// described at [Files]: where apk and the language package managers fetch from, and
// the site's certificate authorities.
package alpine

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// Recipe is an image as a function of the place and the platform.
type Recipe = func(site.Site, pipelines.Platform) pipelines.Image

// Options chooses what is in an image. The zero value of each field is the default;
// Release has none.
type Options struct {
	// Release is "3.24", or "edge".
	Release string
	// Source is what the image is made of, default [common.FromPackages].
	Source common.Source
	// Image is the reference of the image to start from, for Source
	// [common.FromImage] only; default "docker.io/library/alpine:RELEASE".
	Image string
	// Components of the repository, default "main" and "community".
	Components []string
	// Include and Exclude name packages; those of [Base] are there anyway. Exclude
	// not with [common.FromImage].
	Include, Exclude []string
	// NoTrust leaves the site's certificate authorities out of the image.
	NoTrust bool
	// Languages says which language package managers are configured.
	Languages common.LanguageConfig
	// Labels are added to the image's own and win over them.
	Labels map[string]string
}

// Base are the packages of every image: apk and what it needs, the keys and the
// directories, a shell, and the C library's tools.
func Base() []string {
	return []string{"alpine-baselayout", "alpine-keys", "alpine-release", "apk-tools", "busybox", "musl-utils"}
}

// New gives the recipe for some options. Options that make no sense together are a
// [pipelines.InvalidError] of the image's Graph, with the line that called New.
func New(o Options) Recipe {
	check := o.check()
	return func(s site.Site, p pipelines.Platform) pipelines.Image {
		if img, bad := check.Invalid(p); bad {
			return img
		}
		var cas []site.Certificate
		if !o.NoTrust {
			cas = s.ImageCAs()
		}
		img := pipelines.From(p, o.source(len(cas) > 0))
		// Files stand together so that they become one layer, and before the first
		// command, so that it already trusts the site.
		for _, f := range slices.Concat(store.Files(cas), Files(o, s)) {
			img = img.Then(f)
		}
		return img.With(store.Merge(cas), o.upgrade(s, p, len(cas) > 0)).Then(pipelines.Configure{
			Env:    common.Merge(map[string]string{"PATH": common.Path, "LC_ALL": common.Locale}, store.Env(cas)),
			Cmd:    []string{"/bin/sh"},
			Labels: common.Merge(o.info().Labels(), common.CALabels(cas), o.Labels),
		})
	}
}

var releaseRE = regexp.MustCompile(`^3\.[0-9]{1,3}$`)

func (o Options) check() *common.Options {
	c := common.CheckOptions("recipe alpine")
	image := o.Source == common.FromImage
	c.Refuse(o.Release == "", "has no release", `set Release to a branch of Alpine, such as "3.24"`)
	c.Refuse(o.Release != "edge" && !releaseRE.MatchString(o.Release), fmt.Sprintf("does not know the release %q", o.Release),
		`write it as "3.24", without v and without the third number, or "edge"`)
	c.Refuse(o.Source != common.FromPackages && !image, fmt.Sprintf("does not know the source %q", o.Source), "Source is common.FromPackages or common.FromImage")
	c.Refuse(o.Image != "" && !image, "has an Image, but is made from packages", "set Source to common.FromImage, or leave Image empty")
	c.Refuse(len(o.Exclude) > 0 && image, "has Exclude, but starts from an image, whose packages are there already",
		"delete them in a Run step, or set Source to common.FromPackages")
	for _, name := range o.Components {
		c.Refuse(!slices.Contains([]string{"main", "community", "testing"}, name), fmt.Sprintf("has the component %q, which Alpine does not have", name),
			"the components are main and community, and of edge testing")
		c.Refuse(name == "testing" && o.Release != "edge", "has the component testing, which only edge has", `leave it out, or set Release to "edge"`)
	}
	for _, name := range o.Exclude {
		c.Refuse(common.Has(slices.Concat(Base(), o.Include), name), "excludes "+name+", which it includes", "leave one of them out")
	}
	for _, name := range slices.Concat(o.Include, o.Exclude) {
		c.Refuse(strings.ContainsAny(name, "<>=~@!"), fmt.Sprintf("names the package %q", name), "name packages without versions and tags: a branch has one version of each")
	}
	c.Refuse(!o.Languages.Known(), fmt.Sprintf("does not know the language configuration %q", o.Languages),
		"Languages is common.OwnIndexes, common.AllIndexes or common.NoIndexes")
	return c
}

// branch is the directory of a mirror.
func (o Options) branch() string {
	if o.Release == "edge" {
		return o.Release
	}
	return "v" + o.Release
}

func (o Options) components() []string {
	if len(o.Components) == 0 {
		return []string{"main", "community"}
	}
	return o.Components
}

func (o Options) image() string {
	if o.Image != "" {
		return o.Image
	}
	return "docker.io/library/alpine:" + o.Release
}

// include are further packages, with the one that keeps the site's authorities in the
// bundle when it is upgraded, where there are any.
func (o Options) include(trust bool) []string {
	out := slices.Clone(o.Include)
	if trust && !common.Has(out, "ca-certificates") && !common.Has(o.Exclude, "ca-certificates") {
		out = append(out, "ca-certificates")
	}
	return out
}

// source is what the image starts from.
func (o Options) source(trust bool) pipelines.Source {
	if o.Source == common.FromImage {
		return pipelines.Pull{Ref: o.image()}
	}
	include := Base()
	for _, p := range o.include(trust) {
		if !slices.Contains(include, p) {
			include = append(include, p)
		}
	}
	return pipelines.Bootstrap{Method: "apk", Include: include, Exclude: o.Exclude,
		Sources: []pipelines.PackageSource{{Repository: repository, Suite: o.branch(), Components: o.components()}}}
}

func (o Options) info() common.Info {
	title := "Alpine Linux " + o.Release
	about := title + ", base packages"
	if o.Source == common.FromImage {
		about = title + ", made of " + o.image()
	}
	return common.Info{Title: title, Description: about, Version: o.Release, URL: "https://alpinelinux.org/"}
}

// upgrade brings an image that was pulled up to date, in one step, so that nothing
// that is removed again gets into a layer (NCCS best practices 2.5 to 2.7). An image
// made of packages is up to date already.
//
// While it runs, apk fetches from the mirrors that the site has for building, where
// they differ from those that the image keeps: their files are shown to it in place of
// the image's own.
func (o Options) upgrade(s site.Site, p pipelines.Platform, trust bool) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		if o.Source != common.FromImage {
			return img
		}
		script := "apk upgrade --no-cache --available\n"
		if add := o.include(trust); len(add) > 0 {
			script += "apk add --no-cache " + strings.Join(add, " ") + "\n"
		}
		// apk puts its own version of a changed file below /etc beside it. What is
		// changed here is what this recipe and the builder put in its place.
		script += "find /etc -name '*.apk-new' -delete\nrm -rf /var/cache/apk/* /var/log/apk.log\n"
		return img.Then(pipelines.Run{
			Name:   "upgrade packages",
			Shell:  script,
			Env:    map[string]string{"PATH": common.Path},
			User:   "0:0",
			Dir:    "/",
			Mounts: common.Shown(p, Files(o, common.ForBuilding(s)), Files(o, s)),
		})
	}
}
