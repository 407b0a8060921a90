package fetch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Kept is the metadata of one mirror as it was served, and how to ask whether it
// changed.
type Kept struct {
	// ETag and LastModified of the first part.
	ETag, LastModified string
	// Form tells apart ways in which one kind of metadata can be served.
	Form string
	// Parts are the files: the metadata, then its signature where that is apart.
	Parts [][]byte
}

// Empty says that nothing is kept.
func (k Kept) Empty() bool { return len(k.Parts) == 0 || len(k.Parts[0]) == 0 }

// same compares what was served, not the validators.
func (k Kept) same(o Kept) bool {
	return k.Form == o.Form && slices.EqualFunc(k.Parts, o.Parts, bytes.Equal)
}

// state is the file of a Kept: a line of JSON, then the parts.
type state struct {
	Mirror string `json:"mirror"`
	// Name is what of the mirror it is, a suite.
	Name         string `json:"name"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	Form         string `json:"form,omitempty"`
	// SlowAt is when the mirror last failed or was not waited for.
	SlowAt time.Time `json:"slow_at,omitzero"`
	// Sizes of the parts.
	Sizes []int `json:"sizes,omitempty"`

	parts [][]byte
}

func (s state) kept() Kept {
	return Kept{ETag: s.ETag, LastModified: s.LastModified, Form: s.Form, Parts: s.parts}
}

func (s state) with(k Kept) state {
	s.ETag, s.LastModified, s.Form, s.parts = k.ETag, k.LastModified, k.Form, k.Parts
	return s
}

func (c *Client) statePath(mirror, name string) string {
	sum := sha256.Sum256([]byte(mirror + "\n" + name))
	return filepath.Join(c.CacheDir, "dists", hex.EncodeToString(sum[:16]))
}

// loadState gives what is kept, or an empty state: a torn or strange file is as
// good as none.
func (c *Client) loadState(mirror, name string) state {
	empty := state{Mirror: mirror, Name: name}
	data, err := os.ReadFile(c.statePath(mirror, name))
	if err != nil {
		return empty
	}
	head, rest, ok := bytes.Cut(data, []byte("\n"))
	var s state
	if !ok || json.Unmarshal(head, &s) != nil || s.Mirror != mirror || s.Name != name {
		return empty
	}
	for _, n := range s.Sizes {
		if n < 0 || n > len(rest) {
			return empty
		}
		s.parts, rest = append(s.parts, rest[:n:n]), rest[n:]
	}
	if len(rest) > 0 {
		return empty
	}
	return s
}

func (c *Client) saveState(s state) error {
	s.Sizes = nil
	for _, p := range s.parts {
		s.Sizes = append(s.Sizes, len(p))
	}
	head, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replace(c.statePath(s.Mirror, s.Name), append(append(head, '\n'), bytes.Join(s.parts, nil)...))
}

// replace writes a file beside path and renames it, without syncing: what the
// cache holds is verified when it is read.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &CacheError{dir, err}
	}
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return &CacheError{dir, err}
	}
	_, err = f.Write(data)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return &CacheError{dir, err}
	}
	return nil
}
