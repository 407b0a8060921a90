// Package rpm makes CentOS, Rocky Linux, AlmaLinux, Fedora and RHEL UBI base images,
// from packages or from the distribution's own image, as pure functions of a site
// and a platform.
//
//	img := rpm.New(rpm.Options{Distribution: rpm.CentOS, Release: 9})(s, p)
//	img := rpm.New(rpm.Options{Distribution: rpm.Rocky, Release: 9, Source: common.FromImage})(s, p)
//
// An image holds the distribution's own packages and nothing else, besides the few
// files described at [Files]: where dnf or yum and the language package managers
// fetch from, how dnf behaves in a container, and the site's certificate
// authorities.
package rpm

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

// The distributions. CentOS is CentOS Linux for release 7, CentOS Stream from 8 on.
// UBI is Red Hat's universal base image, the part of RHEL that needs no
// subscription.
const (
	CentOS Distribution = "centos"
	Rocky  Distribution = "rocky"
	Alma   Distribution = "alma"
	Fedora Distribution = "fedora"
	UBI    Distribution = "ubi"
)

// EPEL says whether an image has Extra Packages for Enterprise Linux configured.
type EPEL string

// EPEL is on by default for CentOS, Rocky and Alma, as figure 17 of the ORNL report
// has it, and off for UBI, which lacks much of what EPEL's packages need. Fedora has
// none.
const (
	EPELDefault EPEL = ""
	EPELOn      EPEL = "on"
	EPELOff     EPEL = "off"
)

// Fallback says how an image's dnf falls back from one mirror to the next.
type Fallback string

const (
	// Pair writes a repository with several mirrors twice: the preferred mirror
	// first, and the other way round. dnf takes the newest packages of both, so
	// it survives a preferred mirror that is wrong or old as well as one that is
	// down. It fetches the metadata of both. The default, except for yum.
	Pair Fallback = ""
	// List writes it once, with a list of mirrors: dnf survives mirrors that are
	// down, and believes one that is old. Fetches half the metadata.
	List Fallback = "list"
)

// Options chooses what is in an image. The zero value of each field is the default;
// Distribution and Release have none.
type Options struct {
	Distribution Distribution
	// Release is the major release: 9.
	Release int
	// Source is what the image is made of, default [common.FromPackages].
	Source common.Source
	// Image is the reference of the image to start from, for [common.FromImage]
	// only; default the distribution's own.
	Image string
	// Include names packages besides the base set. Exclude names packages of the
	// base set that are left out, not with [common.FromImage].
	Include, Exclude []string
	// EPEL repository, with the CRB repository, which its packages need.
	EPEL EPEL
	// CRB enables CodeReady Builder (PowerTools in release 8) without EPEL.
	CRB bool
	// Fallback between mirrors, default [Pair]; yum can only [List].
	Fallback Fallback
	// NoMetadataSignature leaves out the check of signed repository metadata
	// (repo_gpgcheck), for a site whose mirror makes metadata of its own. Packages
	// are checked always.
	NoMetadataSignature bool
	// WeakDeps lets dnf install recommended packages, as it does by default; not
	// with release 7, whose rpm knows none.
	WeakDeps bool
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
		img := pipelines.From(p, o.source(p))
		// Files stand together so that they become one layer, and before the
		// first command, so that it already trusts the site.
		for _, f := range slices.Concat(store.Files(cas), Files(o, s, p)) {
			img = img.Then(f)
		}
		return img.With(store.Merge(cas), o.upgrade(s, p)).Then(pipelines.Configure{
			Env:    common.Merge(map[string]string{"PATH": common.Path, "LC_ALL": r.locale()}, store.Env(cas)),
			Cmd:    []string{"/bin/bash"},
			Labels: common.Merge(o.info().Labels(), common.CALabels(cas), o.Labels),
		})
	}
}

func (o Options) check() *common.Options {
	c := common.CheckOptions("recipe " + or(string(o.Distribution), "rpm"))
	all := []Distribution{CentOS, Rocky, Alma, Fedora, UBI}
	c.Refuse(o.Distribution == "", "has no distribution", "set Distribution to rpm.CentOS, rpm.Rocky, rpm.Alma, rpm.Fedora or rpm.UBI")
	c.Refuse(!slices.Contains(all, o.Distribution), fmt.Sprintf("does not know the distribution %q", o.Distribution),
		"Distribution is rpm.CentOS, rpm.Rocky, rpm.Alma, rpm.Fedora or rpm.UBI")
	r := o.release()
	c.Refuse(o.Release == 0, "has no release", "set Release to one of "+releasesOf(o.Distribution))
	c.Refuse(r.title == "", fmt.Sprintf("does not know release %d of %s", o.Release, o.Distribution), "its releases are "+releasesOf(o.Distribution))
	image := o.Source == common.FromImage
	c.Refuse(!slices.Contains([]common.Source{common.FromPackages, common.FromImage}, o.Source),
		fmt.Sprintf("does not know the source %q", o.Source), "Source is common.FromPackages or common.FromImage")
	c.Refuse(o.Image != "" && !image, "has an Image, but is made from packages", "set Source to common.FromImage, or leave Image empty")
	c.Refuse(len(o.Exclude) > 0 && image, "has Exclude, but starts from an image, whose packages are there already",
		"remove them in a Run step, or set Source to common.FromPackages")
	for _, name := range slices.Concat(o.Include, o.Exclude) {
		c.Refuse(name == "" || strings.ContainsAny(name, " \t\n'\"$;&|<>(){}*?\\`") || strings.HasPrefix(name, "-"),
			fmt.Sprintf("%q is not a package name", name), "name packages as rpm -q does")
	}
	c.Refuse(!slices.Contains([]EPEL{EPELDefault, EPELOn, EPELOff}, o.EPEL), fmt.Sprintf("does not know the EPEL setting %q", o.EPEL),
		"EPEL is rpm.EPELOn or rpm.EPELOff, or empty")
	c.Refuse(o.EPEL == EPELOn && o.Distribution == Fedora, "has EPEL, but is Fedora, which EPEL's packages come from", "leave EPEL empty")
	c.Refuse(o.CRB && r.crb == "", fmt.Sprintf("has CRB, which %s does not have", r.title), "leave CRB out: its packages are in the repositories that are on")
	c.Refuse(o.Fallback != Pair && o.Fallback != List, fmt.Sprintf("does not know the fallback %q", o.Fallback), "Fallback is rpm.Pair or rpm.List")
	c.Refuse(o.WeakDeps && r.tool == yum, fmt.Sprintf("has WeakDeps, but the rpm of %s knows none", r.title), "leave WeakDeps out")
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
func (o Options) source(p pipelines.Platform) pipelines.Source {
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
	for _, x := range o.repositories(p) {
		// What is asked for by name may be in any repository that is on.
		if x.base || (x.on && len(o.Include) > 0) {
			b.Sources = append(b.Sources, pipelines.PackageSource{Repository: x.repository, Suite: x.suite})
		}
	}
	return b
}

func (o Options) hasEPEL() bool {
	return o.EPEL == EPELOn || (o.EPEL == EPELDefault && o.Distribution != Fedora && o.Distribution != UBI)
}

func (o Options) info() common.Info {
	r := o.release()
	return common.Info{Title: r.title, Description: r.title + " with " + string(r.tool), Version: fmt.Sprint(r.version), URL: r.url, Vendor: r.vendor}
}

func platformNames(list []pipelines.Platform) string {
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}
