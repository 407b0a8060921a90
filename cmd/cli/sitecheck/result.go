package sitecheck

import "time"

// Result is everything that was found.
type Result struct {
	Repositories []Group `json:"repositories"`
	Indexes      []Group `json:"indexes"`
	Registries   []Group `json:"registries"`
	Proxies      []Check `json:"proxies"`
	CAs          []Check `json:"ca"`
}

// Group is what is looked for in several places, one of which is enough: a
// repository, an index, the images of a registry.
type Group struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "deb", "rpm", "apk", "index", "registry", or "" when unknown
	// Probed is the part that was looked at: "suite trixie, amd64".
	Probed string `json:"probed,omitempty"`
	// Because: "target debian13 uses it".
	Because string   `json:"because,omitempty"`
	Mirrors []Mirror `json:"mirrors"`
	// Usable: at least one mirror is.
	Usable bool `json:"usable"`
}

// Mirror is one place and what came of asking it.
type Mirror struct {
	URL    string `json:"url"`
	Use    string `json:"use"` // "both", "build-only" or "image-only"
	Status Status `json:"status"`
	// Reachable: it answered something over HTTP.
	Reachable bool `json:"reachable"`
	// Date of the index and, for deb, the end of its validity.
	Date       *time.Time `json:"date,omitempty"`
	ValidUntil *time.Time `json:"valid_until,omitempty"`
	// BehindSeconds is how much older the index is than the freshest one.
	BehindSeconds int64 `json:"behind_seconds,omitempty"`
	// Signature: "verified", "not signed", "no key known", or "" where the format
	// has none.
	Signature string `json:"signature,omitempty"`
	// Package that was fetched with the right size and hash.
	Package string `json:"package,omitempty"`
	// BytesPerSecond and IndexBytes: the speed and what it was measured on.
	BytesPerSecond int64 `json:"bytes_per_second,omitempty"`
	IndexBytes     int64 `json:"index_bytes,omitempty"`
	// Answer is what else it said: "answers, wants a login".
	Answer string `json:"answer,omitempty"`
	// Problem and what to do about it.
	Problem string `json:"problem,omitempty"`
	Fix     string `json:"fix,omitempty"`

	budget *budget
}

// Check is one thing that is not a mirror.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Text   string `json:"text"`
	// DaysLeft of a certificate.
	DaysLeft *int   `json:"days_left,omitempty"`
	Fix      string `json:"fix,omitempty"`
}

// Usable counts the groups that have a usable mirror.
func (r Result) Usable() (usable, all int) {
	for _, list := range [][]Group{r.Repositories, r.Indexes, r.Registries} {
		for _, g := range list {
			all++
			if g.Usable {
				usable++
			}
		}
	}
	return usable, all
}

// Without lists the groups that have no usable mirror.
func (r Result) Without() []string {
	var out []string
	for _, list := range [][]Group{r.Repositories, r.Indexes, r.Registries} {
		for _, g := range list {
			if !g.Usable {
				out = append(out, g.Name)
			}
		}
	}
	return out
}
