package archive

import (
	"slices"
	"sync"
)

// mirrors are the base URLs of one suite and how they did so far. One that failed
// several times in a row is asked last, so that a dead mirror costs its time-out a
// few times and not for every package.
type mirrors struct {
	urls []string
	mu   sync.Mutex
	row  map[string]int
}

const lastAfter = 3

func newMirrors(urls []string) *mirrors { return &mirrors{urls: urls, row: map[string]int{}} }

// order gives the mirrors as they should be asked now.
func (m *mirrors) order() []string {
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

func (m *mirrors) good(url string) {
	m.mu.Lock()
	m.row[url] = 0
	m.mu.Unlock()
}

func (m *mirrors) bad(url string) {
	m.mu.Lock()
	m.row[url]++
	m.mu.Unlock()
}
