// Package builders says what building means: a [Builder] turns a graph for one
// platform into an OCI image layout.
//
// A backend implements [Lowering], one method for each operation, so that a new
// operation does not compile until every backend has an answer. What a backend
// cannot do it declares in [Capabilities]; [Missing] tells before anything runs.
// The conformance suite in builderstest is the specification.
package builders

import (
	"context"
	"io"
	"time"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Builder builds images. Implementations may be used by several goroutines at
// once.
type Builder interface {
	// Name is the backend's name: "buildah".
	Name() string
	// Capabilities says what this builder can do on this machine. It may start
	// a short probe; the answer is cached.
	Capabilities(ctx context.Context) (Capabilities, error)
	// Build builds one graph, which holds no Bootstrap, and writes the result
	// to r.Output as an OCI layout whose index holds one manifest. When it
	// returns nil the layout is whole and on disk; otherwise r.Output does not
	// exist. Cancelling ctx ends every process it started. Errors: [StepError],
	// [UnsupportedError], [ErrUnavailable].
	Build(ctx context.Context, r Request) (Result, error)
}

// Request is one build.
type Request struct {
	// Job names the build in events.
	Job string
	// Graph without Bootstrap nodes; Layout nodes have Path and Digest.
	Graph pipelines.Graph
	// Site for registries, CAs and proxies. Steps with a network are lent its proxy
	// and the authorities trusted while building (package internal/steptrust), as
	// long as they run; neither is part of what a step is, or of a layer.
	Site site.Site
	// Secrets by ID, values as bytes.
	Secrets map[string][]byte
	// Output is the directory to make; it must not exist.
	Output string
	// Epoch bounds every time stamp in the layers and is the image's created
	// time (SOURCE_DATE_EPOCH). Zero: the newest created time among the images
	// the graph pulls or reads from layouts, or 1970 when there is none; never
	// the clock.
	Epoch time.Time
	// NoCache runs every step.
	NoCache bool
	// CacheFrom are asked for the results of steps that this machine's own cache
	// lacks; one that is gone or broken is a warning, and the step runs. CacheTo get
	// the results of all steps once the image is whole; a failure there is a warning
	// too, for the image is done.
	CacheFrom, CacheTo []CacheRef
	// Credentials by registry host ("registry.example.org:5050"), for caches and for
	// images that are pulled; they win over AuthFile, a docker or podman auth file.
	// Empty: podman's and docker's usual places.
	Credentials map[string]Credential
	AuthFile    string
	// Keep leaves a failed step's working container for inspection.
	Keep bool
	// Discard: only whether the steps pass is of interest. The builder may leave
	// Output unmade and the Result empty.
	Discard bool
	// Events may be nil.
	Events pipelines.Sink
}

// Result is what was built.
type Result struct {
	// Digest and Size (bytes) of the OCI image manifest in Output.
	Digest string
	Size   int64
	// Steps that ran, and that came from the step cache.
	Ran, Cached int
	// Exported: how many of the request's CacheTo hold the results now.
	Exported int
}

// Capabilities is what a builder can do.
type Capabilities struct {
	// Available: false with Reason when nothing can be built here.
	Available bool   `json:"available"`
	Reason    string `json:"reason,omitempty"`
	// Fix is the command or setting that mends it.
	Fix string `json:"fix,omitempty"`
	// Detail lines for doctor: "storage: overlay", "isolation: chroot".
	Detail []string `json:"detail,omitempty"`
	// Platforms it can run steps for; NeedsEmulation are among them.
	Platforms []pipelines.Platform `json:"platforms,omitempty"`
	Emulated  []pipelines.Platform `json:"emulated,omitempty"`
	// What steps can ask for.
	NetworkNone bool `json:"network_none"`
	Secrets     bool `json:"secrets"`
	CacheMounts bool `json:"cache_mounts"`
	// Roots: directories can have the step's devices and processes (Run.Roots).
	Roots bool `json:"roots"`
	// Xattrs: extended attributes beyond security.capability are kept.
	Xattrs bool `json:"xattrs"`
	// Links: a new name that a step gives to a file of a layer below stays a hard
	// link to it.
	Links bool `json:"links"`
	// Sysfs: steps are sure to find the kernel's /sys.
	Sysfs bool `json:"sysfs"`
}

// CanRun says whether steps for p can run.
func (c Capabilities) CanRun(p pipelines.Platform) bool {
	for _, q := range c.Platforms {
		if q == p {
			return true
		}
	}
	return false
}

// Backend is a registration: a value that main lists, never an init function.
type Backend struct {
	Name string
	// Describe is one line for help.
	Describe string
	// Open makes a builder for an address, the part of --builder after the
	// colon, usually empty.
	Open func(ctx context.Context, o Options) (Builder, error)
	// Size gives the bytes that StateDir holds, Prune removes what no build has
	// used for longer than unused and gives the bytes that are free now. Both
	// may be used while builds run. Nil: the backend keeps nothing there.
	Size  func(ctx context.Context, o Options) (int64, error)
	Prune func(ctx context.Context, o Options, unused time.Duration) (int64, error)
	// Workers asks the daemons that o.Address names how they are; a daemon that does not
	// answer within the timeout is among them, with the reason. An error means that the
	// address makes no sense. Nil: the backend has no daemons.
	Workers func(ctx context.Context, o Options, timeout time.Duration) ([]WorkerStatus, error)
	// OnRequest backends are used when they are named, never by --builder auto.
	OnRequest bool
	// Remove takes what builds have started or stored in the daemon that o.Address names
	// out of it, also while it is used, and says what that was. Nil: nothing is.
	Remove func(ctx context.Context, o Options) ([]string, error)
	// Stub is why this binary lacks the backend; then Open is nil.
	Stub string
}

// Options opens a builder.
type Options struct {
	Address string
	// Getenv reads a variable of the user's environment, "" when it is not set: where
	// daemons are (BUILDKIT_HOST, DOCKER_HOST, XDG_RUNTIME_DIR). Nil: none is set.
	Getenv func(string) string
	// Site is for daemons that the builder starts: what they pull and push themselves.
	Site site.Site
	// StateDir is where it may keep its storage and caches.
	StateDir string
	// Isolation asks for a way to run steps: "" (the backend's choice),
	// "chroot", "runc".
	Isolation string
	// Driver asks for a storage driver: "", "overlay", "fuse-overlayfs", "vfs".
	Driver string
	// Jobs bounds how many builds run at once.
	Jobs int
	// Warn takes what the user should know although it works; nil drops it. It may be
	// called by several goroutines.
	Warn func(string)
	// Log takes the backend's own diagnostics; nil drops them.
	Log io.Writer
}
