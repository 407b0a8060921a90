package rpm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/repo"
	"github.com/cfbuild/cfbuild/internal/pgp"
)

// key is a public key that rpm is told to trust.
type key struct {
	// Name is the file's: the fingerprint. ID is what rpm calls it by, the last
	// eight digits in lower case.
	Name, ID string
	// Data is armored: rpm reads no other form.
	Data []byte
	// BuildOnly: it does not stay in the root.
	BuildOnly bool
}

// keysOf gives the keys of all sources, sorted.
func keysOf(c *repo.Client, r bootstrap.Request) ([]key, error) {
	var out []key
	add := func(data []byte, buildOnly bool) error {
		list, err := pgp.ReadKeys(data)
		if err != nil {
			return err
		}
		for _, e := range list {
			fp := fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
			i := slices.IndexFunc(out, func(k key) bool { return k.Name == fp+".asc" })
			if i >= 0 {
				out[i].BuildOnly = out[i].BuildOnly && buildOnly
				continue
			}
			b, err := armored(e)
			if err != nil {
				return err
			}
			out = append(out, key{Name: fp + ".asc", ID: strings.ToLower(e.PrimaryKey.KeyIdString()[8:]), Data: b, BuildOnly: buildOnly})
		}
		return nil
	}
	for _, src := range r.Op.Sources {
		keys := r.Site.Keyrings[src.Repository]
		own := keys
		own.Keys = nil
		for _, data := range c.PublicKeys(src, own) {
			if err := add(data, false); err != nil {
				return nil, err
			}
		}
		if len(keys.Keys) > 0 {
			if err := add(keys.Keys, keys.BuildOnly); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(out, func(a, b key) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func armored(e *openpgp.Entity) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = e.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	b.WriteByte('\n')
	return b.Bytes(), err
}
