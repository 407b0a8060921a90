// Package common holds what recipes of every family share: labels of the OCI
// image specification, the environment, and the label that says whose authority
// an image trusts. All functions are pure.
package common

import (
	"maps"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Path is the search path of an image's programs, Debian's and Docker's default.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Locale is the LC_ALL of images whose C library has it, as all current ones have:
// bytes are UTF-8, everything else is as in C. It is set for all categories, since
// a runtime may hand in the LANG of its host, for which an image has no data.
// (Figure 17 of the ORNL report sets C, in which R and Python lose non-ASCII text.)
const Locale = "C.UTF-8"

// LabelCA names the certificate authorities that were written into an image
// besides the public roots, separated by commas: whoever uses the image trusts
// them too.
const LabelCA = "io.github.cfbuild.ca"

// Info says what an image is, in the pre-defined annotation keys of the OCI image
// specification (annotations.md). Empty fields give no label. The date (created)
// is not among them: it belongs to the image configuration and is set from the
// build's epoch.
type Info struct {
	Title         string
	Description   string
	Version       string
	URL           string // to find more information
	Documentation string // URL
	Source        string // URL of what the image was built from
	Revision      string // of the source
	Vendor        string
	Authors       string
	Licenses      string // SPDX expression
}

// Labels gives the labels org.opencontainers.image.*.
func (i Info) Labels() map[string]string {
	out := map[string]string{}
	for k, v := range map[string]string{
		"title": i.Title, "description": i.Description, "version": i.Version, "url": i.URL,
		"documentation": i.Documentation, "source": i.Source, "revision": i.Revision,
		"vendor": i.Vendor, "authors": i.Authors, "licenses": i.Licenses,
	} {
		if v != "" {
			out["org.opencontainers.image."+k] = v
		}
	}
	return out
}

// Describe sets the labels of i: img.With(common.Describe(common.Info{…})).
func Describe(i Info) func(pipelines.Image) pipelines.Image {
	return Labels(i.Labels())
}

// Labels sets labels; an empty map changes nothing.
func Labels(l map[string]string) func(pipelines.Image) pipelines.Image {
	l = maps.Clone(l)
	return func(img pipelines.Image) pipelines.Image {
		if len(l) == 0 {
			return img
		}
		return img.Then(pipelines.Configure{Labels: maps.Clone(l)})
	}
}

// Env sets variables; an empty map changes nothing.
func Env(env map[string]string) func(pipelines.Image) pipelines.Image {
	env = maps.Clone(env)
	return func(img pipelines.Image) pipelines.Image {
		if len(env) == 0 {
			return img
		}
		return img.Then(pipelines.Configure{Env: maps.Clone(env)})
	}
}

// CALabels gives the label [LabelCA] for authorities, nothing for none.
func CALabels(cas []site.Certificate) map[string]string {
	if len(cas) == 0 {
		return nil
	}
	var names []string
	for _, c := range cas {
		names = append(names, c.Name)
	}
	return map[string]string{LabelCA: strings.Join(names, ",")}
}

// Merge joins maps; of equal keys the last one wins.
func Merge(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}

// Has says whether a package is in a list, also when it is named with an
// architecture ("ca-certificates:all").
func Has(packages []string, name string) bool {
	return slices.ContainsFunc(packages, func(p string) bool {
		base, _, _ := strings.Cut(p, ":")
		return base == name
	})
}
