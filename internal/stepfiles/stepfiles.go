// Package stepfiles reads what steps say about files, in one way for every builder.
package stepfiles

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// Owner reads "uid:gid", which the graph's check has seen to; ok is false for "".
func Owner(s string) (uid, gid int, ok bool) {
	u, g, found := strings.Cut(s, ":")
	if !found {
		return 0, 0, false
	}
	uid, err1 := strconv.Atoi(u)
	gid, err2 := strconv.Atoi(g)
	return uid, gid, err1 == nil && err2 == nil
}

// UnixMode reads a mode whose high bits are written as Unix numbers (04755) or as
// package fs has them.
func UnixMode(m fs.FileMode) uint32 {
	out := uint32(m) & 0o7777
	for bit, unixBit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&bit != 0 {
			out |= unixBit
		}
	}
	return out
}

// LocalRoot finds the directory of a Local source, as an absolute path.
func LocalRoot(o pipelines.Local) (string, error) {
	p, err := filepath.Abs(o.Path)
	if err != nil {
		return "", err
	}
	fi, err := os.Stat(p)
	if err != nil {
		return "", fmt.Errorf("local directory: %w", err)
	}
	if !fi.IsDir() {
		return "", fmt.Errorf("local directory %s: is not a directory", p)
	}
	return p, nil
}

// Filter says what of a Local directory counts.
type Filter struct{ Include, Exclude []string }

// Wanted: a path, relative to the directory, counts. A directory that does not count
// itself is still to be walked: something below it may.
func (f Filter) Wanted(rel string) bool {
	if rel == "" || rel == "." {
		return len(f.Include) == 0
	}
	return (len(f.Include) == 0 || matches(f.Include, rel)) && !matches(f.Exclude, rel)
}

// matches: a pattern fits the path or one of its parents.
func matches(patterns []string, rel string) bool {
	for at := rel; at != "." && at != "/" && at != ""; at = path.Dir(at) {
		for _, p := range patterns {
			if ok, err := path.Match(strings.TrimPrefix(path.Clean("/"+p), "/"), at); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// SecretLines are the values that must not leave in a log: each line of a secret
// that is long enough not to be found everywhere.
func SecretLines(v []byte) [][]byte {
	var out [][]byte
	for line := range bytes.SplitSeq(v, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) >= 4 {
			out = append(out, line, []byte(hex.EncodeToString(line)))
		}
	}
	return out
}
