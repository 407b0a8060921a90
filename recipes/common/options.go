package common

import (
	"runtime"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Source is what an image is made of.
type Source string

// The sources of a recipe.
const (
	// FromPackages bootstraps from the distribution's package mirror, nothing is
	// pulled. It is the default.
	FromPackages Source = ""
	// FromImage starts from the distribution's own image, pulled through the site's
	// cache, and upgrades what is in it.
	FromImage Source = "image"
)

// Upstream is what the names of targets made [FromImage] end in.
const Upstream = "-upstream"

// Options collects what makes no sense in the options of one recipe, so that the
// error names the line of whoever called the recipe:
//
//	c := common.CheckOptions("recipe debian")
//	c.Refuse(o.Image != "" && o.Source != common.FromImage, "has Image but is made from packages", "set Source to common.FromImage")
//	if img, bad := c.Invalid(p); bad {
//		return img
//	}
type Options struct {
	what  string
	where pipelines.Position
	first *pipelines.InvalidError
}

// CheckOptions begins a check of the recipe that is called what in errors. Call it
// where the author's call is still on the stack: in New, not in the function New
// gives back.
func CheckOptions(what string) *Options { return &Options{what: what, where: author()} }

// Refuse notes that something is wrong if it is, with its cause and what to do
// about it. Of several the first counts.
func (c *Options) Refuse(wrong bool, cause, fix string) {
	if wrong && c.first == nil {
		c.first = &pipelines.InvalidError{Where: c.where, What: c.what, Cause: cause, Fix: fix}
	}
}

// Invalid gives the image to return instead, if anything is wrong: its Graph is the
// error.
func (c *Options) Invalid(p pipelines.Platform) (img pipelines.Image, bad bool) {
	if c.first == nil {
		return pipelines.Image{}, false
	}
	return pipelines.Invalid(p, *c.first), true
}

// author is the first line outside the recipes that called them; for a built-in
// target, the outermost one of the recipes.
func author() pipelines.Position {
	var pcs [32]uintptr
	n := runtime.Callers(3, pcs[:])
	frames := runtime.CallersFrames(pcs[:n])
	var last pipelines.Position
	for {
		f, more := frames.Next()
		recipe := strings.Contains(f.Function, "/cfbuild/recipes/") && !strings.HasSuffix(f.File, "_test.go")
		switch {
		case recipe:
			last = pipelines.Position{File: f.File, Line: f.Line}
		case strings.Contains(f.Function, "/cfbuild/recipes."), strings.Contains(f.Function, "/cfbuild/cmd/cli"):
			return last
		default:
			return pipelines.Position{File: f.File, Line: f.Line}
		}
		if !more {
			return last
		}
	}
}
