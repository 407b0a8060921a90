package fetch

import (
	"slices"
	"sync"
)

// Mirrors are the base URLs of one repository and how they did so far. One that failed
// several times in a row is asked last, so that a dead mirror costs its time-out a
// few times and not for every package.
type Mirrors struct {
	urls []string
	mu   sync.Mutex
	row  map[string]int
}

const lastAfter = 3

// NewMirrors starts without experience; urls in the order of preference.
func NewMirrors(urls []string) *Mirrors { return &Mirrors{urls: urls, row: map[string]int{}} }

// order gives the mirrors as they should be asked now.
func (m *Mirrors) order() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.urls)
	late := func(u string) int {
		if m.row[u] >= lastAfter {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b string) int { return late(a) - late(b) })
	return out
}

func (m *Mirrors) good(url string) {
	m.mu.Lock()
	m.row[url] = 0
	m.mu.Unlock()
}

func (m *Mirrors) bad(url string) {
	m.mu.Lock()
	m.row[url]++
	m.mu.Unlock()
}
