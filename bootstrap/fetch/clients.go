package fetch

import (
	"encoding/json"
	"sync"

	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/site"
)

// Clients keeps one HTTP client for each site, so that connections are reused. The
// zero value is ready; it may be used by several goroutines at once.
type Clients struct {
	// Fixed is used for all sites instead, if it is set.
	Fixed *httpx.Client

	mu     sync.Mutex
	bySite map[string]*httpx.Client // by what a client depends on
}

// For gives the client of a site, as [HTTPFor] makes it.
func (c *Clients) For(s site.Site) (*httpx.Client, error) {
	if c.Fixed != nil {
		return c.Fixed, nil
	}
	key, err := json.Marshal(site.Site{CAs: s.BuildCAs(), Proxy: s.Proxy})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.bySite[string(key)]; have != nil {
		return have, nil
	}
	made, err := HTTPFor(s)
	if err != nil {
		return nil, err
	}
	if c.bySite == nil {
		c.bySite = map[string]*httpx.Client{}
	}
	c.bySite[string(key)] = made
	return made, nil
}
