package repo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/fetch"
)

// Metadata is what repomd.xml says.
type Metadata struct {
	// Digest is "sha256:…" of the file.
	Digest string
	// Signed: the signature beside it is good.
	Signed bool
	// Modular: the repository has modules (EL 8).
	Modular bool
	made    time.Time
	files   map[string]file
}

// ID is the digest of repomd.xml.
func (m *Metadata) ID() string { return m.Digest }

// Made is the newest of the time stamps, or the revision where that is one.
func (m *Metadata) Made() time.Time { return m.made }

// file is one file of the metadata.
type file struct {
	path       string // below the repository's directory
	sha256     string
	size, open int64
}

// maxOpen bounds what an index may unpack to, in bytes. Fedora's primary.xml has
// about 200 MB.
const maxOpen = 2 << 30

// parseRepomd reads repomd.xml. The errors match fetch.ErrNotMetadata.
func parseRepomd(data []byte) (*Metadata, error) {
	var x struct {
		XMLName  xml.Name `xml:"repomd"`
		Revision string   `xml:"revision"`
		Data     []struct {
			Type     string   `xml:"type,attr"`
			Checksum checksum `xml:"checksum"`
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
			Timestamp string `xml:"timestamp"`
			Size      int64  `xml:"size"`
			OpenSize  int64  `xml:"open-size"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal(data, &x); err != nil {
		return nil, fmt.Errorf("%w: %s", fetch.ErrNotMetadata, describe(data, err))
	}
	sum := sha256.Sum256(data)
	m := &Metadata{Digest: "sha256:" + hex.EncodeToString(sum[:]), files: map[string]file{}}
	for _, d := range x.Data {
		if at := seconds(d.Timestamp); at.After(m.made) {
			m.made = at
		}
		if d.Type == "modules" {
			m.Modular = true
		}
		if d.Type != "primary" && d.Type != "filelists" {
			continue
		}
		f := file{path: d.Location.Href, sha256: d.Checksum.Value, size: d.Size, open: d.OpenSize}
		switch {
		case d.Checksum.Type != "sha256" || !isSHA256(f.sha256):
			return nil, fmt.Errorf("%w: its %s has a checksum of the kind %q, sha256 is wanted", fetch.ErrNotMetadata, d.Type, d.Checksum.Type)
		case !below(f.path):
			return nil, fmt.Errorf("%w: its %s is at %q, which is no path below the repository", fetch.ErrNotMetadata, d.Type, f.path)
		case f.size <= 0 || f.open < 0 || f.open > maxOpen:
			return nil, fmt.Errorf("%w: its %s has %d bytes and unpacks to %d", fetch.ErrNotMetadata, d.Type, f.size, f.open)
		}
		if f.open == 0 {
			f.open = maxOpen
		}
		m.files[d.Type] = f
	}
	if _, ok := m.files["primary"]; !ok {
		return nil, fmt.Errorf("%w: it names no primary index", fetch.ErrNotMetadata)
	}
	if rev := seconds(x.Revision); m.made.IsZero() && rev.Year() > 2000 {
		m.made = rev
	}
	if m.made.IsZero() {
		return nil, fmt.Errorf("%w: it has no time stamp", fetch.ErrNotMetadata)
	}
	return m, nil
}

type checksum struct {
	Type  string `xml:"type,attr"`
	Value string `xml:",chardata"`
}

// seconds reads a Unix time that may have a fraction.
func seconds(s string) time.Time {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || f <= 0 || f > math.MaxUint32 {
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}

func isSHA256(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 64 && s == strings.ToLower(s)
}

// below says whether p is a clean relative path that stays where it starts.
func below(p string) bool {
	return p != "" && len(p) < 1024 && p == path.Clean(p) && p != "." && p != ".." && !strings.HasPrefix(p, "../") && !strings.HasPrefix(p, "/") &&
		!strings.ContainsAny(p, "?#\\ \t\n\x00")
}

// describe says what something is that should have been repomd.xml.
func describe(data []byte, err error) string {
	head := bytes.ToLower(bytes.TrimSpace(data[:min(len(data), 512)]))
	switch {
	case len(head) == 0:
		return "it is empty"
	case bytes.HasPrefix(head, []byte("<!doctype")), bytes.Contains(head, []byte("<html")):
		return "it is an HTML page"
	}
	return "it is no repomd.xml: " + err.Error()
}
