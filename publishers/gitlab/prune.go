package gitlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	api "gitlab.com/gitlab-org/api/client-go"
)

// Retention says what of a project's generic packages goes. A version goes when it
// is none of the newest Keep of its package and is older than Before, as far as they
// are set; with neither no version goes.
type Retention struct {
	// Packages are patterns (path.Match) of the names that are looked at. At least
	// one is needed.
	Packages []string
	// Versions are patterns of the versions that may go; none: all.
	Versions []string
	// Protect are patterns of versions that stay, and do not count for Keep.
	Protect []string
	// Keep is how many of the newest versions of each package stay; negative: Before
	// alone decides. Newest is what was created last.
	Keep int
	// Before: only versions created before it go; zero: of any age.
	Before time.Time
	// Duplicates: of files with the same name in a version that stays, all but the
	// newest go. GitLab serves none of them by name.
	Duplicates bool
	// Hidden: hidden versions, which a publishing that broke off leaves, go too,
	// when they are older than Before, which then has to be set.
	Hidden bool
}

// Removal is one version, or one file of a version, that goes.
type Removal struct {
	Package string `json:"package"`
	Version string `json:"version"`
	// File is empty when the whole version goes.
	File string `json:"file,omitempty"`
	// Bytes of all its files, and how many they are.
	Bytes int64 `json:"bytes"`
	Files int   `json:"files"`
	// Created is when the version, or the file, was.
	Created time.Time `json:"created"`
	Reason  string    `json:"reason"`
	// Removed: it is gone. Failed is why it is not.
	Removed bool   `json:"removed"`
	Failed  string `json:"failed,omitempty"`

	packageID, fileID int64
}

// check looks at patterns and what goes together.
func (r Retention) check() error {
	for what, all := range map[string][]string{"package": r.Packages, "version": r.Versions, "protect": r.Protect} {
		for _, p := range all {
			if _, err := path.Match(p, ""); err != nil || p == "" {
				return fmt.Errorf("pattern %q of %s: is not valid", p, what)
			}
		}
	}
	switch {
	case len(r.Packages) == 0:
		return errors.New("no package is named")
	case r.Hidden && r.Before.IsZero():
		return errors.New("hidden versions: no age is given, and one may be in the making")
	}
	return nil
}

func match(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { ok, _ := path.Match(p, s); return ok })
}

// Prunable lists what the policy would remove, by package, oldest first. Nothing is
// removed. The error is a [publishers.PublishError].
func (c *Client) Prunable(ctx context.Context, r Retention) ([]Removal, error) {
	fail := func(stage string, err error) error {
		return &publishers.PublishError{Ref: c.o.ref(), Stage: stage, Err: err, Fix: c.fix(err)}
	}
	if err := r.check(); err != nil {
		return nil, fail("options", err)
	}
	if !c.lists() {
		return nil, &publishers.PublishError{Ref: c.o.ref(), Stage: "options", Err: errors.New("a deploy token may neither list nor delete"),
			Fix: "use a job token, or a personal or project token with the scope api"}
	}
	shown, err := c.packages(ctx, "", "", "")
	if err != nil {
		return nil, fail("list", err)
	}
	var hidden []*api.Package
	if r.Hidden {
		if hidden, err = c.packages(ctx, "", "", "hidden"); err != nil {
			return nil, fail("list", err)
		}
	}
	var out []Removal
	goes, stay := r.choose(shown, hidden)
	for _, g := range goes {
		files, err := c.files(ctx, g.packageID)
		if err != nil {
			if statusOf(err) == 404 { // someone else was faster
				continue
			}
			return nil, fail("list", err)
		}
		g.Files = len(files)
		for _, f := range files {
			g.Bytes += f.Size
		}
		out = append(out, g)
	}
	if r.Duplicates {
		for _, p := range stay {
			files, err := c.files(ctx, p.ID)
			if err != nil && statusOf(err) != 404 {
				return nil, fail("list", err)
			}
			out = append(out, duplicates(p, files)...)
		}
	}
	slices.SortStableFunc(out, func(a, b Removal) int {
		return cmp.Or(strings.Compare(a.Package, b.Package), a.Created.Compare(b.Created), cmp.Compare(a.packageID, b.packageID), cmp.Compare(a.fileID, b.fileID))
	})
	return out, nil
}

// choose parts the versions into those that go and those that stay.
func (r Retention) choose(shown, hidden []*api.Package) (goes []Removal, stay []*api.Package) {
	old := func(p *api.Package) bool { return r.Before.IsZero() || created(p).Before(r.Before) }
	removal := func(p *api.Package, reason string) {
		goes = append(goes, Removal{Package: p.Name, Version: p.Version, Created: created(p), Reason: reason, packageID: p.ID})
	}
	newestFirst := slices.Clone(shown)
	slices.SortStableFunc(newestFirst, func(a, b *api.Package) int {
		return cmp.Or(created(b).Compare(created(a)), cmp.Compare(b.ID, a.ID))
	})
	kept := map[string]int{}
	for _, p := range newestFirst {
		switch {
		case p.PackageType != "generic" || !match(r.Packages, p.Name):
			continue
		case match(r.Protect, p.Version), len(r.Versions) > 0 && !match(r.Versions, p.Version):
			stay = append(stay, p)
			continue
		}
		kept[p.Name]++
		switch {
		case r.Keep < 0 && r.Before.IsZero(), r.Keep >= 0 && kept[p.Name] <= r.Keep, !old(p):
			stay = append(stay, p)
		case r.Keep < 0:
			removal(p, "created before "+r.Before.UTC().Format(time.DateTime))
		default:
			removal(p, fmt.Sprintf("not among the newest %d", r.Keep))
		}
	}
	for _, p := range hidden {
		if p.PackageType == "generic" && p.Status == "hidden" && match(r.Packages, p.Name) && !match(r.Protect, p.Version) &&
			(len(r.Versions) == 0 || match(r.Versions, p.Version)) && old(p) {
			removal(p, "hidden")
		}
	}
	return goes, stay
}

// created is the time of a package; one without is new.
func created(p *api.Package) time.Time {
	if p.CreatedAt == nil {
		return time.Unix(1<<40, 0)
	}
	return *p.CreatedAt
}

// duplicates are the files of a version that another of the same name hides.
func duplicates(p *api.Package, files []*api.PackageFile) []Removal {
	newest := map[string]int64{}
	for _, f := range files {
		newest[f.FileName] = max(newest[f.FileName], f.ID)
	}
	var out []Removal
	for _, f := range files {
		if f.ID == newest[f.FileName] {
			continue
		}
		r := Removal{Package: p.Name, Version: p.Version, File: f.FileName, Bytes: f.Size, Files: 1, Created: created(p),
			Reason: "a newer file has its name", packageID: p.ID, fileID: f.ID}
		if f.CreatedAt != nil {
			r.Created = *f.CreatedAt
		}
		out = append(out, r)
	}
	return out
}

// Remove deletes what [Client.Prunable] listed and notes in each how it went. One
// that fails does not keep the others from going; what is gone already counts as
// removed. The error is a [publishers.PublishError] about the first that failed.
func (c *Client) Remove(ctx context.Context, what []Removal) error {
	var first error
	failed := 0
	for i := range what {
		r := &what[i]
		name := r.Package + "/" + r.Version
		var err error
		if r.File == "" {
			err = c.deletePackage(ctx, r.packageID)
		} else {
			name += "/" + r.File
			err = c.deleteFile(ctx, r.packageID, r.fileID)
		}
		if err == nil {
			r.Removed = true
			c.o.Events.Send(pipelines.Event{Kind: pipelines.EventNote, Step: "prune", Text: "removed " + name})
			continue
		}
		r.Failed = err.Error()
		failed++
		if first == nil {
			first = fmt.Errorf("%s: %w", name, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first == nil {
		return nil
	}
	return &publishers.PublishError{Ref: c.o.ref(), Stage: "delete", Err: first, Fix: c.fix(first),
		Done: fmt.Sprintf("%d of %d could not be removed", failed, len(what))}
}
