// Package site describes one place: its package mirrors, certificate
// authorities, registries and their pull-through caches, and proxies.
//
// A [Site] is a plain value handed to recipes, bootstrappers, builders and
// publishers. It changes how bytes are fetched; it changes what is in an image
// only where a recipe is handed it. Only the command line loads one.
package site

// Site is one place. The zero Site has no mirrors and trusts the public roots.
type Site struct {
	// Name is the built-in's name or the file it was read from.
	Name string
	// Mirrors lists base URLs for each package repository ("debian",
	// "debian-security", "ubuntu"), the preferred first.
	Mirrors map[string][]Mirror
	// Indexes lists base URLs of language package indexes, the preferred first:
	// "pypi" (a PEP 503 simple index), "conda" (the directory that holds
	// channels), "cran" and "cpan" (mirror roots), "npm" (a registry).
	Indexes map[string][]Mirror `json:",omitempty"`
	// CAs are trusted besides the public roots.
	CAs []Certificate
	// Keyrings replaces or adds archive keys for a repository.
	Keyrings map[string]Keyring
	// Registries says how references of one prefix are pulled.
	Registries []Registry
	// Proxy is how requests leave the site.
	Proxy Proxy
	// Notes say what was left out while reading the site ("host" skips what it
	// cannot use, with the reason). They change nothing.
	Notes []string `json:",omitempty"`
}

// Mirror is one base URL of a package repository (the directory that holds dists/
// and pool/ for Debian; [Public] says what it is for the others) or of a language
// index.
type Mirror struct {
	URL string
	// BuildOnly mirrors are used while building and not written into images;
	// ImageOnly ones are written into images and not used while building. Not both
	// at once.
	BuildOnly bool
	ImageOnly bool `json:",omitempty"`
}

// Certificate is one certificate authority.
type Certificate struct {
	// Name is the file name it gets in images, without an ending.
	Name string
	// PEM is one CERTIFICATE block.
	PEM []byte
	// BuildOnly certificates are trusted while building and not written into
	// images. ImageOnly (mode "baked") ones are written into images and not
	// trusted while building. Neither: both. Not both at once.
	BuildOnly bool `json:",omitempty"`
	ImageOnly bool `json:",omitempty"`
}

// Keyring holds OpenPGP public keys, armored or binary, or RSA public keys in PEM.
type Keyring struct {
	Keys []byte
	// Name is the base name of the file they were read from: apk looks for a key by
	// the name of its file.
	Name string `json:",omitempty"`
	// Replace: only these are trusted; otherwise they add to the embedded ones.
	Replace bool
	// BuildOnly keys are used while building and not written into images.
	BuildOnly bool `json:",omitempty"`
}

// Registry is how references that begin with Prefix are pulled.
type Registry struct {
	Prefix string // "docker.io", "quay.io/centos"
	// Location replaces the prefix; empty keeps it.
	Location string
	Insecure bool
	// Mirrors are tried first, in order.
	Mirrors []RegistryMirror
}

// RegistryMirror is a pull-through cache.
type RegistryMirror struct {
	Location string // host[:port][/path]
	Insecure bool   // plain HTTP or an unverified certificate
}

// Proxy holds what the *_proxy variables hold.
type Proxy struct {
	HTTP, HTTPS, No string
}

// URLs gives the mirrors of a repository as base URLs, in order: where bytes are
// fetched from while building.
func (s Site) URLs(repository string) []string {
	return urls(s.Mirrors[repository], func(m Mirror) bool { return !m.ImageOnly })
}

// ImageURLs gives the mirrors of a repository that are written into images, in
// order. A site whose mirrors are all BuildOnly (the built-in "host") leaves the
// public ones in its images, so that they work elsewhere; so does one that names no
// mirror for it.
func (s Site) ImageURLs(repository string) []string {
	out := urls(s.Mirrors[repository], func(m Mirror) bool { return !m.BuildOnly })
	if len(out) == 0 {
		return Public().URLs(repository)
	}
	return out
}

// ImageCAs gives the certificate authorities that are written into images.
func (s Site) ImageCAs() []Certificate {
	var out []Certificate
	for _, c := range s.CAs {
		if !c.BuildOnly {
			out = append(out, c)
		}
	}
	return out
}

// BuildCAs gives the certificate authorities that are trusted while building.
func (s Site) BuildCAs() []Certificate {
	var out []Certificate
	for _, c := range s.CAs {
		if !c.ImageOnly {
			out = append(out, c)
		}
	}
	return out
}

// IndexURLs gives the language indexes of a kind ("pypi", "conda", "cran", "cpan",
// "npm") that are used while building, in order.
func (s Site) IndexURLs(kind string) []string {
	return urls(s.Indexes[kind], func(m Mirror) bool { return !m.ImageOnly })
}

// ImageIndexURLs gives the language indexes of a kind that are written into
// images, in order; nil: none is named, so clients keep their own defaults.
func (s Site) ImageIndexURLs(kind string) []string {
	return urls(s.Indexes[kind], func(m Mirror) bool { return !m.BuildOnly })
}

func urls(list []Mirror, use func(Mirror) bool) []string {
	var out []string
	for _, m := range list {
		if use(m) {
			out = append(out, m.URL)
		}
	}
	return out
}

// Bundle is the PEM of the site's certificate authorities that are trusted while
// building, in their order, without the public roots; nil when there are none.
func (s Site) Bundle() []byte { return Bundle(s.BuildCAs()) }

// Bundle is the PEM of several certificates in their order; nil when there are
// none.
func Bundle(cas []Certificate) []byte {
	var out []byte
	for _, c := range cas {
		out = append(out, c.PEM...)
		if n := len(out); n > 0 && out[n-1] != '\n' {
			out = append(out, '\n')
		}
	}
	return out
}
