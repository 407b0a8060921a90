package oci

import (
	"time"

	"github.com/cfbuild/cfbuild/publishers"
	"github.com/cfbuild/cfbuild/site"
	"go.podman.io/image/v5/pkg/blobinfocache/memory"
	"go.podman.io/image/v5/types"
)

// The manifest families [Publisher.Push] writes.
const (
	V2S2 = "v2s2" // docker schema 2, the default
	OCI  = "oci"
)

// Options of a [Publisher]. The zero Options are useful.
type Options struct {
	// Site has the CAs, the registries that may be insecure, the mirrors
	// [Publisher.Platforms] asks first, and the proxies. A site without
	// proxies leaves them to the *_proxy variables.
	Site site.Site
	// Credentials by registry host ("registry.example.org:5050"); they win over
	// auth files.
	Credentials map[string]publishers.Credential
	// AuthFile is a docker or podman auth file. Empty: podman's and docker's
	// usual places and their credential helpers.
	AuthFile string
	// MountFrom lists repositories that may hold blobs of what is pushed, such
	// as that of a base image. Those on the same registry are asked before a
	// blob is sent. Repositories this Publisher pushed to need no mention.
	MountFrom []string
	// Project is the GitLab project's repository (CI_REGISTRY_IMAGE); pushing
	// deeper than GitLab allows below it gives a warning.
	Project string
	// Parallel is how many blobs are sent at once; 0 is 4.
	Parallel int
	// Retries is how often a request that failed for a passing reason (429,
	// 5xx, a lost connection) is repeated; 0 is 5, negative is never.
	Retries int
	// Backoff is the wait before the first repetition; it doubles each time up
	// to 30 s; 0 is 500 ms. A registry's Retry-After is honoured besides.
	Backoff time.Duration
	// Stall is how long a request may make no progress before its connection
	// counts as lost; 0 is 5 min.
	Stall time.Duration
	// TempDir takes layers that have to be recompressed; empty is the system's.
	TempDir string
}

// Publisher publishes images. It may be used by several goroutines at once.
type Publisher struct {
	o Options
	// cache remembers which repositories hold which blob, to mount them.
	cache types.BlobInfoCache
}

// New makes a Publisher.
func New(o Options) *Publisher {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Retries == 0 {
		o.Retries = 5
	}
	if o.Backoff == 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.Stall == 0 {
		o.Stall = 5 * time.Minute
	}
	return &Publisher{o: o, cache: memory.New()}
}
