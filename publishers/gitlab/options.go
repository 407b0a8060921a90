package gitlab

import (
	"fmt"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// The headers that tokens travel in: [Token.Header].
const (
	JobToken     = "JOB-TOKEN"
	PrivateToken = "PRIVATE-TOKEN"
	DeployToken  = "DEPLOY-TOKEN"
)

// Token lets in. It prints without its value.
type Token struct {
	// Header is [JobToken], [PrivateToken] or [DeployToken]. GitLab lets a deploy
	// token neither list nor delete: see [Publish].
	Header, Value string
	// From names where it came from, for hints: "CI_JOB_TOKEN".
	From string
}

// Format prints the header and hides the value, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s:***", t.Header) }

// MarshalText does the same for JSON and other encodings.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.Header + ":***"), nil }

// Policy says what to do when the package has another file of the same name.
type Policy string

// The policies. GitLab itself stores both and serves the newest, unless the group
// turned "Allow duplicates" off.
const (
	// Refuse fails before anything is sent. The default.
	Refuse Policy = "refuse"
	// Replace sends the new file and deletes the other ones after that; where
	// duplicates are turned off, before.
	Replace Policy = "replace"
	// Add sends the new file and leaves the other ones.
	Add Policy = "add"
)

// DefaultMaxSize is GitLab's limit for one file, in bytes: 5 GiB
// (generic_packages_max_file_size).
const DefaultMaxSize = 5 << 30

// Sums is the name of the file with the SHA-256 of all others, as sha256sum -c
// takes it.
const Sums = "SHA256SUMS"

// Options say where to publish, what and how.
type Options struct {
	// API is the base URL of the API (CI_API_V4_URL), Project a numeric ID
	// (CI_PROJECT_ID) or a path such as "group/project".
	API, Project string
	Token        Token
	// Package and Version of what is published.
	Package, Version string
	// Policy; empty is [Refuse].
	Policy Policy
	// MaxSize of one file in bytes; 0 is [DefaultMaxSize].
	MaxSize int64
	// Site has the CAs and the proxies.
	Site site.Site
	// Retries is how often a request that failed for a passing reason (429, 5xx, a
	// lost connection) is repeated; 0 is 5, negative is never. An upload is
	// repeated only after GitLab was asked whether it has it.
	Retries int
	// Backoff is the wait before the first repetition; it doubles each time up to
	// 30 s; 0 is 500 ms. Retry-After is honoured besides, up to the same 30 s.
	Backoff time.Duration
	// Stall is how long a request may make no progress before its connection
	// counts as lost; 0 is 5 min.
	Stall time.Duration
	// Events have the step "push".
	Events pipelines.Sink
}

// File is one file to publish.
type File struct {
	// Name in the package.
	Name string
	// Path of the file on disk; Data is its content where Path is empty.
	Path string
	Data []byte
	// Meta, where it is not nil, is published beside the file as NAME.json, in
	// an object with the file's name, size and SHA-256. It has to encode the same
	// each time.
	Meta any
}

// Receipt says what a package holds after publishing, read back.
type Receipt struct {
	Package string `json:"package"`
	Version string `json:"version"`
	// URL is what the names of files are appended to for downloading.
	URL   string   `json:"url"`
	Files []Stored `json:"files"`
	// Sent is how many bytes of files GitLab took.
	Sent int64 `json:"sent_bytes"`
}

// Stored is one published file.
type Stored struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Sent: it was not there before.
	Sent bool `json:"sent"`
}
