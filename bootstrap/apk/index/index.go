package index

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
)

// Index is the signed list of a repository's packages for one architecture.
type Index struct {
	// Digest is "sha256:…" of the signed bytes.
	Digest string
	// Date is when the index was made: the time stamp of the list in it, or that of
	// the newest package where that is later.
	Date time.Time
	// Description is what the repository calls itself, "v3.24.1-17-g0a1b2c3d4e5".
	Description string
	Packages    []*Package
}

// ID is the digest, for [fetch.Freshest].
func (i *Index) ID() string { return i.Digest }

// Made is the date, for [fetch.Freshest].
func (i *Index) Made() time.Time { return i.Date }

// Read verifies and reads an APKINDEX.tar.gz. Errors match the sentinels of package
// fetch.
func Read(data []byte, keys Keys) (*Index, error) {
	switch {
	case isVersion3(data):
		return nil, ErrVersion3
	case len(data) < 2 || data[0] != 0x1f || data[1] != 0x8b:
		return nil, fmt.Errorf("%w: it is no gzip file", fetch.ErrNotMetadata)
	}
	head, err := nextMember(data, 0, 1<<20)
	if err != nil {
		return nil, err
	}
	sigs, err := files(head.plain)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(sigs, func(f file) bool { return strings.HasPrefix(f.head.Name, ".SIGN.") }) {
		return nil, fmt.Errorf("%w: it is not signed", fetch.ErrSignature)
	}
	signed := data[head.to:]
	if len(signed) == 0 {
		return nil, fmt.Errorf("%w: it ends after the signature", fetch.ErrMalformed)
	}
	if err := keys.verify(sigs, signed); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(signed)
	out := &Index{Digest: "sha256:" + hex.EncodeToString(sum[:])}
	// What follows is as it was signed.
	var all []byte
	for at := head.to; at < len(data); {
		m, err := nextMember(data, at, MaxIndex-int64(len(all)))
		if err != nil {
			return nil, err
		}
		all, at = append(all, m.plain...), m.to
	}
	list, err := files(all)
	if err != nil {
		return nil, err
	}
	found := false
	for _, f := range list {
		switch f.head.Name {
		case "DESCRIPTION":
			out.Description = strings.TrimSpace(string(f.data))
		case "APKINDEX":
			found = true
			out.Date = f.head.ModTime.UTC()
			if out.Packages, err = parse(string(f.data)); err != nil {
				return nil, err
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: it holds no APKINDEX", fetch.ErrMalformed)
	}
	for _, p := range out.Packages {
		if p.BuildTime.After(out.Date) {
			out.Date = p.BuildTime
		}
	}
	return out, nil
}
