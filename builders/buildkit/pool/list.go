package pool

import (
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Worker is one entry of a list: a daemon, and what it is asked to build.
type Worker struct {
	Address string
	// Platforms it is used for; empty: whatever it says it can do.
	Platforms []pipelines.Platform
}

// For says whether the worker is meant for a platform at all.
func (w Worker) For(p pipelines.Platform) bool {
	for _, q := range w.Platforms {
		if q == p {
			return true
		}
	}
	return len(w.Platforms) == 0
}

// String is the entry as it is written.
func (w Worker) String() string {
	if len(w.Platforms) == 0 {
		return "*=" + w.Address
	}
	var out []string
	for _, p := range w.Platforms {
		out = append(out, p.String()+"="+w.Address)
	}
	return strings.Join(out, ",")
}

// ListError: a list of workers that cannot be meant.
type ListError struct{ Entry, Cause, Fix string }

func (e *ListError) Error() string { return "worker " + e.Entry + ": " + e.Cause }

// Hint is what to write instead.
func (e *ListError) Hint() string { return e.Fix }

const example = "write PLATFORM=ADDRESS,…, as linux/amd64=tcp://a?certs=DIR,linux/arm64=tcp://b?certs=DIR,*=unix:///SOCKET"

// IsList tells a list of workers from the address of one daemon: it has a comma, or
// begins with a platform.
func IsList(s string) bool {
	_, _, entry := cutEntry(s)
	return entry || strings.Contains(s, ",")
}

// cutEntry splits PLATFORM=ADDRESS; addresses have equal signs too, further behind.
func cutEntry(s string) (platform, address string, ok bool) {
	platform, address, ok = strings.Cut(s, "=")
	if !ok || strings.ContainsAny(platform, ":?") {
		return "", s, false
	}
	return platform, address, true
}

// Parse reads a list: PLATFORM=ADDRESS entries between commas. * and an entry without
// a platform stand for all the daemon can do; a daemon that is named for several
// platforms is one worker. check reads each address; nil takes all. A comma within an
// address is written %2C.
func Parse(s string, check func(address string) error) ([]Worker, error) {
	var out []Worker
	for _, entry := range strings.Split(s, ",") {
		entry = strings.TrimSpace(entry)
		platform, address, named := cutEntry(entry)
		switch {
		case entry == "":
			return nil, &ListError{fmt.Sprintf("list %q", s), "has an empty entry", example}
		case address == "":
			return nil, &ListError{entry, "names no address", example}
		}
		if check != nil {
			if err := check(address); err != nil {
				return nil, err
			}
		}
		w := Worker{Address: address}
		if named && platform != "*" {
			p, err := pipelines.ParsePlatform(platform)
			if err != nil {
				return nil, fmt.Errorf("worker %s: %w", entry, err)
			}
			w.Platforms = []pipelines.Platform{p}
		}
		var err error
		if out, err = add(out, w, entry); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func add(all []Worker, w Worker, entry string) ([]Worker, error) {
	for i, o := range all {
		if o.Address != w.Address {
			continue
		}
		if len(o.Platforms) == 0 || len(w.Platforms) == 0 || o.For(w.Platforms[0]) {
			return nil, &ListError{entry, "is given twice", "name each daemon once for each platform; * is all it can do"}
		}
		all[i].Platforms = append(o.Platforms, w.Platforms...)
		return all, nil
	}
	return append(all, w), nil
}
