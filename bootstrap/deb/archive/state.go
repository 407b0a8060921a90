package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// state is what is kept of one suite of one mirror: the last good release file,
// as it was signed, and how to ask whether it changed.
type state struct {
	Mirror       string `json:"mirror"`
	Suite        string `json:"suite"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	// SlowAt is when the mirror last failed or was not waited for.
	SlowAt time.Time `json:"slow_at,omitzero"`
	// Inline: Signed is InRelease; otherwise it is Release and Sigs is
	// Release.gpg.
	Inline bool `json:"inline,omitempty"`
	// N and M are the lengths of the two, which follow this JSON line.
	N int `json:"n"`
	M int `json:"m"`

	Signed []byte `json:"-"`
	Sigs   []byte `json:"-"`
}

func (c *Client) statePath(mirror, suite string) string {
	sum := sha256.Sum256([]byte(mirror + "\n" + suite))
	return filepath.Join(c.CacheDir, "dists", hex.EncodeToString(sum[:16]))
}

// loadState gives what is kept, or an empty state: a torn or strange file is as
// good as none.
func (c *Client) loadState(mirror, suite string) state {
	empty := state{Mirror: mirror, Suite: suite}
	data, err := os.ReadFile(c.statePath(mirror, suite))
	if err != nil {
		return empty
	}
	head, rest, ok := bytes.Cut(data, []byte("\n"))
	var s state
	if !ok || json.Unmarshal(head, &s) != nil || s.Mirror != mirror || s.Suite != suite ||
		s.N < 0 || s.M < 0 || s.N > len(rest) || len(rest) != s.N+s.M {
		return empty
	}
	s.Signed, s.Sigs = rest[:s.N:s.N], rest[s.N:]
	return s
}

func (c *Client) saveState(s state) error {
	s.N, s.M = len(s.Signed), len(s.Sigs)
	head, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := c.statePath(s.Mirror, s.Suite)
	return replace(path, bytes.Join([][]byte{append(head, '\n'), s.Signed, s.Sigs}, nil))
}

// replace writes a file beside path and renames it, without syncing: what the
// cache holds is verified when it is read.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &cacheError{dir, err}
	}
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return &cacheError{dir, err}
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
		return &cacheError{dir, err}
	}
	return nil
}
