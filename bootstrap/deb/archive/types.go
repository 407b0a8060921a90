package archive

import (
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
	"github.com/cfbuild/cfbuild/pipelines"
)

// Client reads Debian archives. It may be used by several goroutines at once, and
// several processes may share CacheDir. HTTP and CacheDir must be set; nothing is
// changed by its methods.
type Client fetch.Client

// fetcher is the client of all kinds of repositories.
func (c *Client) fetcher() *fetch.Client { return (*fetch.Client)(c) }

// Suite is one suite of a repository, its signature verified.
type Suite struct {
	Source pipelines.PackageSource
	// Mirrors are the base URLs, without a trailing slash, the one whose
	// release was taken first and the rest in the order given.
	Mirrors []string
	Release Release
	// Older are other releases, validly signed and in date, that mirrors
	// offered or the cache holds, the newest first: what to fall back to when
	// no mirror has the index files of Release. See [Client.Load].
	Older []*Suite
}

// Release is what a Release file says (Debian wiki, RepositoryFormat).
type Release struct {
	// Digest is "sha256:…" of the signed text. Two mirrors of one state have the
	// same.
	Digest string
	// SignedBy is the fingerprint of the primary key, in upper case hex.
	SignedBy string
	// Date it was made, ValidUntil the last moment it may be used (zero: for
	// ever).
	Date, ValidUntil time.Time
	// Origin, Label, Suite ("oldstable"), Codename ("bookworm"), Version.
	Origin, Label, Suite, Codename, Version string
	Architectures                           []string
	Components                              []string
	// ByHash: index files are also found under by-hash/SHA256/.
	ByHash bool
	// separateAll: binary-all indexes have to be read too.
	separateAll bool
	files       map[string]file
}

// ID and Made make it [fetch.Metadata].
func (r *Release) ID() string { return r.Digest }

// Made is its date.
func (r *Release) Made() time.Time { return r.Date }

// file is one index file of a release.
type file struct {
	size   int64
	sha256 [32]byte
}

// Package is one stanza of a Packages index: what it takes to choose and fetch it.
// Dependency fields are as written there; package resolve reads them. Tens of
// thousands are held in memory at once, so that Recommends, Description and the like
// are left out.
type Package struct {
	Name, Version, Architecture string
	// Source is the source package's name, without its version.
	Source     string
	Essential  bool
	Important  bool // Important: yes, or Protected: yes
	Priority   string
	Section    string
	MultiArch  string // "", "same", "foreign", "allowed"
	PreDepends string
	Depends    string
	Conflicts  string
	Breaks     string
	Provides   string
	// Filename is relative to a mirror's base URL.
	Filename string
	// Size in bytes, and InstalledSize in KiB.
	Size          int64
	InstalledSize int64
	// SHA256 of the file, in hex.
	SHA256 string
	// Component the index belongs to.
	Component string
	Suite     *Suite
}

// String is "name=version".
func (p *Package) String() string { return p.Name + "=" + p.Version }

// Clone copies the package, so that keeping a few does not keep the whole index that
// their texts are part of.
func (p *Package) Clone() *Package {
	q := *p
	for _, s := range []*string{&q.Name, &q.Version, &q.Architecture, &q.Source, &q.Priority, &q.Section, &q.MultiArch, &q.PreDepends,
		&q.Depends, &q.Conflicts, &q.Breaks, &q.Provides, &q.Filename, &q.SHA256, &q.Component} {
		*s = strings.Clone(*s)
	}
	return &q
}

// Base is the file's name as apt would have it in its cache.
func (p *Package) Base() string { return p.Filename[strings.LastIndexByte(p.Filename, '/')+1:] }
