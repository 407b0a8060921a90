package deb

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/rootcache"
	"github.com/cfbuild/cfbuild/internal/atomicfile"
)

// version is part of every key of the cache: raise it when resolving or unpacking
// gives something else for the same input.
const version = 2

// selection is a resolved package set. It is kept by the digests of the releases
// it was made from, so that an unchanged archive is not read again.
type selection struct {
	Arch      string          `json:"arch"`
	MergedUsr bool            `json:"merged_usr"`
	Epoch     time.Time       `json:"epoch"`
	Packages  []chosenPackage `json:"packages"`
	// Native: not a root but the tools of one, see native.
	Native bool `json:"-"`
}

// chosenPackage is a package of the set with what it takes to fetch it.
type chosenPackage struct {
	*archive.Package
	// Suite is the index of its suite among those used.
	Suite int    `json:"suite"`
	Why   string `json:"why"`
	Auto  bool   `json:"auto,omitempty"`
}

// keptPackage is the stored form of chosenPackage.
type keptPackage struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Architecture  string `json:"architecture"`
	Filename      string `json:"filename"`
	Size          int64  `json:"size"`
	InstalledSize int64  `json:"installed_size"`
	SHA256        string `json:"sha256"`
	Suite         int    `json:"suite"`
	Why           string `json:"why"`
	Auto          bool   `json:"auto,omitempty"`
}

// MarshalJSON keeps what fetching and unpacking need.
func (c chosenPackage) MarshalJSON() ([]byte, error) {
	return json.Marshal(keptPackage{c.Name, c.Version, c.Architecture, c.Filename, c.Size, c.InstalledSize,
		c.SHA256, c.Suite, c.Why, c.Auto})
}

// UnmarshalJSON reads it; the package has no Suite pointer yet.
func (c *chosenPackage) UnmarshalJSON(b []byte) error {
	var k keptPackage
	if err := json.Unmarshal(b, &k); err != nil {
		return err
	}
	*c = chosenPackage{&archive.Package{Name: k.Name, Version: k.Version, Architecture: k.Architecture, Filename: k.Filename,
		Size: k.Size, InstalledSize: k.InstalledSize, SHA256: k.SHA256}, k.Suite, k.Why, k.Auto}
	return nil
}

// keyOf hashes what decides a result.
func keyOf(v ...any) (string, error) { return rootcache.Key(append(v, version)...) }

// kept is the file of a selection: the releases it was made from, by number.
type kept struct {
	// Used are the releases used, as indexes into the request's sources.
	Used []int     `json:"used"`
	Set  selection `json:"set"`
}

// choose gives the package set for the releases opened, from the cache or by
// resolving.
func (d *debs) choose(ctx context.Context, r bootstrap.Request, arch string, suites []*archive.Suite) (selection, error) {
	var digests []string
	for _, s := range suites {
		digests = append(digests, s.Release.Digest)
	}
	key, err := keyOf("selection", arch, r.Op, digests)
	if err != nil {
		return selection{}, err
	}
	file := filepath.Join(r.CacheDir, "selections", key+".json")
	if set, ok := readSelection(file, suites); ok {
		return set, nil
	}
	set, used, err := d.resolveSet(ctx, r, arch)
	if err != nil {
		return selection{}, err
	}
	k := kept{Set: set}
	for _, u := range used {
		i := slices.IndexFunc(suites, func(s *archive.Suite) bool {
			return s.Source.Repository == u.Source.Repository && s.Source.Suite == u.Source.Suite && s.Release.Digest == u.Release.Digest
		})
		if i < 0 {
			// The archive changed between, or an older release was taken: the
			// set does not belong to the key.
			return set, nil
		}
		k.Used = append(k.Used, i)
	}
	return set, writeSelection(file, k)
}

func readSelection(file string, suites []*archive.Suite) (selection, bool) {
	var k kept
	data, err := os.ReadFile(file)
	if err != nil || json.Unmarshal(data, &k) != nil || len(k.Set.Packages) == 0 {
		return selection{}, false
	}
	for i := range k.Set.Packages {
		p := &k.Set.Packages[i]
		if p.Suite < 0 || p.Suite >= len(k.Used) || k.Used[p.Suite] < 0 || k.Used[p.Suite] >= len(suites) {
			return selection{}, false
		}
		p.Package.Suite = suites[k.Used[p.Suite]]
	}
	return k.Set, true
}

func writeSelection(file string, k kept) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(file, data, 0o644)
}
