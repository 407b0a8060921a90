package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
)

// futureSlack is how far a release may be ahead of the clock.
const futureSlack = 24 * time.Hour

// parseRelease reads the signed text of a release file.
func parseRelease(text []byte) (Release, error) {
	sum := sha256.Sum256(text)
	r := Release{Digest: "sha256:" + hex.EncodeToString(sum[:]), files: map[string]file{}}
	bad := func(format string, a ...any) (Release, error) {
		return Release{}, fmt.Errorf("%w release file: %s", ErrMalformed, fmt.Sprintf(format, a...))
	}
	noAll, field := "", ""
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if field == "sha256" {
				name, f, ok := fileLine(string(line))
				if !ok {
					return bad("the line %q cannot be read", line)
				}
				r.files[name] = f
			}
			continue
		}
		name, value, ok := strings.Cut(string(line), ":")
		if !ok {
			return bad("the line %q has no field name", line)
		}
		field, value = strings.ToLower(name), strings.TrimSpace(value)
		var err error
		switch field {
		case "origin":
			r.Origin = value
		case "label":
			r.Label = value
		case "suite":
			r.Suite = value
		case "codename":
			r.Codename = value
		case "version":
			r.Version = value
		case "architectures":
			r.Architectures = strings.Fields(value)
		case "components":
			r.Components = strings.Fields(value)
		case "acquire-by-hash":
			r.ByHash = value == "yes"
		case "no-support-for-architecture-all":
			noAll = value
		case "date":
			r.Date, err = releaseTime(value)
		case "valid-until":
			r.ValidUntil, err = releaseTime(value)
		}
		if err != nil {
			return bad("%s: %v", name, err)
		}
	}
	if r.Date.IsZero() {
		return bad("it has no Date")
	}
	if len(r.files) == 0 {
		return bad("it lists no files with SHA256")
	}
	r.separateAll = noAll != "Packages" && slices.Contains(r.Architectures, "all")
	r.Architectures = slices.DeleteFunc(r.Architectures, func(a string) bool { return a == "all" })
	return r, nil
}

// fileLine reads " HASH SIZE PATH".
func fileLine(line string) (name string, f file, ok bool) {
	w := strings.Fields(line)
	if len(w) != 3 || len(w[0]) != 64 {
		return "", f, false
	}
	if _, err := hex.Decode(f.sha256[:], []byte(w[0])); err != nil {
		return "", f, false
	}
	n, err := strconv.ParseInt(w[1], 10, 64)
	if err != nil || n < 0 || n == math.MaxInt64 {
		return "", f, false
	}
	f.size = n
	return w[2], f, true
}

// releaseTime reads dates of release files, which are in UTC.
func releaseTime(s string) (time.Time, error) {
	for _, layout := range []string{"Mon, _2 Jan 2006 15:04:05 UTC", "Mon, _2 Jan 2006 15:04:05 GMT", "Mon, _2 Jan 2006 15:04:05 Z", time.RFC1123Z} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date", s)
}

// check says whether the release is the one asked for and may be used now.
func (r Release) check(src pipelines.PackageSource, now time.Time) error {
	// Old security suites are NAME/updates and call themselves NAME.
	want := strings.TrimSuffix(src.Suite, "/updates")
	names := []string{r.Suite, r.Codename, strings.TrimSuffix(r.Suite, "/updates"), strings.TrimSuffix(r.Codename, "/updates")}
	if (r.Suite != "" || r.Codename != "") && !slices.Contains(names, want) {
		return fmt.Errorf("%w: it is the release of %s (%s), not of %s", ErrMismatch, r.Codename, r.Suite, src.Suite)
	}
	if src.AllowExpired {
		return nil
	}
	if !r.ValidUntil.IsZero() && now.After(r.ValidUntil) {
		return fmt.Errorf("release of %s: %w: it was valid until %s", r.Date.Format(time.DateTime), ErrExpired, r.ValidUntil.Format(time.DateTime))
	}
	if r.Date.After(now.Add(futureSlack)) {
		return &clockError{r.Date, now}
	}
	return nil
}

// clockError: the release is from the future.
type clockError struct{ date, now time.Time }

func (e *clockError) Error() string {
	return fmt.Sprintf("release of %s: it is not valid yet, now is %s", e.date.Format(time.DateTime), e.now.UTC().Format(time.DateTime))
}

// Hint is what to do about it.
func (e *clockError) Hint() string { return "set this machine's clock" }
