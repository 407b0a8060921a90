package builders

import "github.com/cfbuild/cfbuild/pipelines"

// WorkerStatus is a daemon that builds, as it is now.
type WorkerStatus struct {
	// Address as the user wrote it; empty: the usual places of this machine.
	Address string `json:"address"`
	// For are the platforms a list names it for; none: whatever it can do.
	For []pipelines.Platform `json:"for,omitempty"`
	// Err is why it does not answer, Fix what to do about it. The rest is empty then.
	Err string `json:"error,omitempty"`
	Fix string `json:"fix,omitempty"`

	// Version of the daemon, "" where it was built without one.
	Version string `json:"version,omitempty"`
	// Platforms it runs; Emulated are among them.
	Platforms []pipelines.Platform `json:"platforms,omitempty"`
	Emulated  []pipelines.Platform `json:"emulated,omitempty"`
	// Snapshotter keeps its filesystems: "overlayfs", "fuse-overlayfs", "native". Sandbox:
	// steps have process namespaces of their own. Network is the steps': "host", "cni".
	Snapshotter string `json:"snapshotter,omitempty"`
	Sandbox     bool   `json:"sandbox,omitempty"`
	Network     string `json:"network,omitempty"`
	Hostname    string `json:"hostname,omitempty"`
	// Cache in bytes, of which Idle are in no use now; Records is how many pieces it has.
	Cache   int64 `json:"cache_bytes"`
	Idle    int64 `json:"idle_bytes"`
	Records int   `json:"records"`
	// Limit of the cache in bytes, above which the daemon removes what is idle, and the
	// space in bytes that it leaves free on its disk; 0: none is set.
	Limit int64 `json:"limit_bytes,omitempty"`
	Free  int64 `json:"min_free_bytes,omitempty"`
}
