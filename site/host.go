package site

import (
	"fmt"
	"maps"
	"slices"
)

// host reads this machine: apt's sources and keyrings, the certificate
// authorities it trusts besides Mozilla's, the indexes its pip, npm and conda use,
// its proxies and containers' registries.conf. What it cannot use it leaves out and says so in Notes; it does
// not fail on the state of a machine.
//
// Mirrors, indexes, keyrings and authorities of the machine are BuildOnly: they say where
// bytes come from here. Images get the public mirrors and stay usable elsewhere,
// and the same definition gives the same image on two machines. To put a site's
// mirrors and authorities into images, write a site file.
func host(o LoadOptions) (Site, error) {
	s := Site{Name: "host", Mirrors: map[string][]Mirror{}, Keyrings: map[string]Keyring{}}
	note := func(format string, args ...any) { s.Notes = append(s.Notes, fmt.Sprintf(format, args...)) }

	for _, e := range aptEntries(o, note) {
		repo, ok := e.repository(o)
		if !ok {
			continue
		}
		for _, raw := range e.urls(o, note) {
			u, bad := cleanMirror(raw)
			if bad != nil {
				note("%s: left out: %s", e.file, bad.cause)
				continue
			}
			m := Mirror{URL: u, BuildOnly: true}
			if !slices.Contains(s.Mirrors[repo], m) {
				s.Mirrors[repo] = append(s.Mirrors[repo], m)
			}
		}
		k := s.Keyrings[repo]
		k.BuildOnly = true
		k.Keys = addKeys(k.Keys, e.keys(o, note))
		if len(k.Keys) > 0 {
			s.Keyrings[repo] = k
		}
	}
	// What the machine does not use itself comes from the public mirrors.
	for repo, mirrors := range Public().Mirrors {
		if len(s.Mirrors[repo]) == 0 {
			s.Mirrors[repo] = slices.Clone(mirrors)
			delete(s.Keyrings, repo)
		}
	}
	s.Indexes = hostIndexes(o, note)
	s.CAs = hostCAs(o, note)
	s.Registries = hostRegistries(o, note)
	s.Proxy = hostProxy(o, note)
	if len(s.Keyrings) == 0 {
		s.Keyrings = nil
	}
	slices.Sort(s.Notes)
	s.Notes = slices.Compact(s.Notes)
	return s, nil
}

// hostProxy reads the variables curl and Go read: lower case first, and no
// HTTP_PROXY in upper case inside a CGI, which does not apply here.
func hostProxy(o LoadOptions, note func(string, ...any)) Proxy {
	first := func(names ...string) string {
		for _, n := range names {
			if v := o.getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	p := Proxy{
		HTTP:  first("http_proxy", "HTTP_PROXY"),
		HTTPS: first("https_proxy", "HTTPS_PROXY"),
		No:    first("no_proxy", "NO_PROXY"),
	}
	all := first("all_proxy", "ALL_PROXY")
	vars := map[string]*string{"http_proxy": &p.HTTP, "https_proxy": &p.HTTPS}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		v := vars[name]
		if *v == "" {
			*v = all
		}
		if *v == "" {
			continue
		}
		if bad := checkProxy(*v); bad != nil {
			note("%s: left out: %s", name, bad.cause)
			*v = ""
		}
	}
	return p
}
