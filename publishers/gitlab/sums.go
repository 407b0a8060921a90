package gitlab

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/publishers"
)

// maxRounds bounds how often SHA256SUMS is written because others write too.
const maxRounds = 5

var sumLine = regexp.MustCompile(`^([0-9a-f]{64}) [ *](.+)$`)

// finish reads back what was published, writes SHA256SUMS over all that the version
// has, and makes it visible. It looks again after each write: another job may have
// published to the same version meanwhile.
func (j *job) finish(ctx context.Context) error {
	c := j.c
	published := slices.Clone(j.sent)
	var names []string
	for _, s := range published {
		names = append(names, s.Name)
	}
	sent := false
	for range maxRounds {
		j.stage = "verify"
		// A second machine of the instance may take a moment.
		err := c.repeat(ctx, "reading back", func(ctx context.Context) (err error) {
			if j.have, err = c.look(ctx, append(slices.Clone(names), Sums)); err != nil {
				return &finalError{err} // repeated already
			}
			return j.verify(published)
		})
		if err != nil {
			return err
		}
		j.stage = "checksums"
		text, err := j.sums(ctx, published)
		if err != nil {
			return err
		}
		f, err := open(File{Name: Sums, Data: []byte(text)})
		if err != nil {
			return err
		}
		sum, err := f.sum(ctx)
		if err != nil {
			return err
		}
		hidden := c.lists() && j.have.status == "hidden"
		old, ok := j.have.newest(Sums)
		if ok && old.sha256 == "" {
			if old, ok, err = c.ask(ctx, Sums); err != nil {
				return err
			}
		}
		if ok && old.sha256 == sum && !hidden {
			j.reveal = false
			j.sent = append(j.sent, Stored{Name: Sums, Size: f.size, SHA256: sum, Sent: sent})
			return nil
		}
		status := ""
		if hidden {
			status = "default"
		}
		if _, err := j.place(ctx, f, status, c.lists(), &publishers.Progress{Total: f.size}); err != nil {
			if duplicate(err) {
				j.hint = "the group turned off \"Allow duplicates\" and the token may not delete the old " + Sums +
					": publish all files of a version in one run, or use the token of a Maintainer"
			}
			return err
		}
		sent = true
	}
	return fmt.Errorf("%s: it was written %d times and is still not what the version has: others publish to it at the same time", Sums, maxRounds)
}

// verify compares what was published with what GitLab has now.
func (j *job) verify(published []Stored) error {
	for _, s := range published {
		have, ok := j.have.newest(s.Name)
		switch {
		case !ok:
			return fmt.Errorf("%w: %s is not there", errReadBack, s.Name)
		case have.size >= 0 && have.size != s.Size || have.sha256 != "" && have.sha256 != s.SHA256:
			return fmt.Errorf("%w: %s has %d bytes and SHA-256 %s, sent were %d and %s", errReadBack, s.Name, have.size, unknown(have.sha256), s.Size, s.SHA256)
		}
	}
	return nil
}

// sums is the text of SHA256SUMS: what was published now, and the newest of each
// other name in the version.
func (j *job) sums(ctx context.Context, published []Stored) (string, error) {
	lines := map[string]string{}
	if j.c.lists() {
		for name := range j.have.files {
			f, _ := j.have.newest(name)
			switch {
			case name == Sums:
			case f.sha256 != "":
				lines[name] = f.sha256
			case !slices.ContainsFunc(published, func(s Stored) bool { return s.Name == name }):
				j.c.warn("%s: GitLab has no SHA-256 of it, so %s leaves it out", name, Sums)
			}
		}
	} else {
		old, err := j.c.fetch(ctx, Sums)
		if err != nil {
			return "", err
		}
		for l := range strings.Lines(string(old)) {
			if m := sumLine.FindStringSubmatch(strings.TrimRight(l, "\n")); m != nil {
				lines[m[2]] = m[1]
			}
		}
	}
	for _, s := range published {
		lines[s.Name] = s.SHA256
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "%s  %s\n", lines[name], name)
	}
	return b.String(), nil
}
