package builders

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
)

// The types of a [CacheRef].
const (
	CacheRegistry = "registry"
	CacheLocal    = "local"
	CacheInline   = "inline"
)

// CacheRef is a place outside this machine's state directory where results of
// steps are kept, so that a job on an empty machine finds what another one did.
type CacheRef struct {
	// Type is "registry", "local", or "inline" (within the image that is pushed;
	// export only).
	Type string `json:"type"`
	// Ref is the repository and tag of a registry cache.
	Ref string `json:"ref,omitempty"`
	// Dir is the directory of a local cache.
	Dir string `json:"dir,omitempty"`
	// Mode is "max" (every step, default) or "min" (what the image consists of).
	Mode string `json:"mode,omitempty"`
}

// String names the place in messages.
func (c CacheRef) String() string {
	switch c.Type {
	case CacheRegistry:
		return c.Ref
	case CacheLocal:
		return c.Dir
	}
	return c.Type
}

// maxTag is how long a tag may be (OCI distribution spec).
const maxTag = 128

// Keyed is the place for one target, platform and builder, which do not overwrite
// each other's: the tag TARGET-ARCH-BUILDER, with a tag that Ref has already before
// it, or the directory Dir/TARGET-ARCH-BUILDER.
func (c CacheRef) Keyed(target string, p pipelines.Platform, builder string) CacheRef {
	name := target + "-" + p.Short() + "-" + builder
	switch c.Type {
	case CacheLocal:
		c.Dir = filepath.Join(c.Dir, name)
	case CacheRegistry:
		repo := c.Ref
		if i := strings.LastIndexByte(repo, ':'); i > strings.LastIndexByte(repo, '/') {
			repo, name = repo[:i], repo[i+1:]+"-"+name
		}
		if len(name) > maxTag {
			sum := sha256.Sum256([]byte(name))
			name = name[:maxTag-17] + "-" + hex.EncodeToString(sum[:8])
		}
		c.Ref = repo + ":" + name
	}
	return c
}

// Credential is a user and password or token for one registry. It prints and
// marshals without its secret.
type Credential struct{ User, Password string }

// Format prints the user and hides the password, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s:***", c.User) }

// MarshalText does the same for JSON and other encodings.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.User + ":***"), nil }
