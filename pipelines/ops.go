package pipelines

import (
	"io/fs"
	"time"
)

// Op is one operation of an image: a [Source] or a [Step]. The set is closed:
// Scratch, Pull, Layout, Local, Bootstrap; Run, Copy, File, Remove, Configure.
type Op interface{ kind() string }

// Source is an operation an image starts from.
type Source interface {
	Op
	source()
}

// Step is an operation that makes a new image out of an image.
type Step interface {
	Op
	step()
}

// Scratch is the empty image.
type Scratch struct{}

// Pull is an image of a registry.
type Pull struct {
	// Ref is a reference as docker pull takes it: name[:tag][@sha256:digest].
	// Unqualified names mean docker.io.
	Ref string `json:"ref"`
}

// Layout is one image of an OCI image layout directory (OCI image-layout spec).
type Layout struct {
	// Path is the layout's directory. It is not part of the identity once
	// Digest is set.
	Path string `json:"path,omitempty"`
	// Digest is the image manifest, "sha256:…". Empty: the one manifest of the
	// index that fits the platform; the engine fills it in.
	Digest string `json:"digest,omitempty"`
}

// Local is a directory of this machine, as a source to [Copy] from.
type Local struct {
	// Path is the directory.
	Path string `json:"path,omitempty"`
	// Include and Exclude are path.Match patterns relative to Path, matched
	// against each path and its parents. Empty Include means everything.
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
	// Digest is the content's identity, filled in by the engine; once set, Path
	// is no longer part of the identity.
	Digest string `json:"digest,omitempty"`
}

// Bootstrap is a root filesystem made of distribution packages. The engine
// replaces it by a [Layout] of unpacked packages and [Run] steps that configure
// them before a builder sees the graph.
type Bootstrap struct {
	// Method names the bootstrapper: "deb", "rpm", "apk".
	Method string `json:"method"`
	// Sources are the package repositories, the suite first, then updates.
	Sources []PackageSource `json:"sources"`
	// Variant is the base set of packages. For deb: "essential", "apt",
	// "minbase" (default), "standard". For rpm and apk: empty, Include names all.
	Variant string `json:"variant,omitempty"`
	// Include and Exclude are further packages by name, and packages left out.
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// PackageSource is one suite of one package repository.
type PackageSource struct {
	// Repository is the name the site lists mirrors under: "debian",
	// "debian-security", "ubuntu".
	Repository string `json:"repository"`
	// Mirrors are base URLs used instead of the site's, in order.
	Mirrors []string `json:"mirrors,omitempty"`
	// Suite is, for deb, the directory below dists/, "bookworm-updates". For rpm it
	// is the repository below the mirror, the directory that holds repodata/, with
	// $basearch for the architecture: "9-stream/BaseOS/$basearch/os". For apk it is
	// the branch, "v3.22".
	Suite string `json:"suite"`
	// Components defaults to "main". Not for rpm.
	Components []string `json:"components,omitempty"`
	// AllowExpired accepts a Release file past its Valid-Until (archives,
	// snapshots).
	AllowExpired bool `json:"allow_expired,omitempty"`
}

// Network of a step.
type Network string

// The networks a step can have. The zero value is NetworkHost.
const (
	NetworkHost Network = "host" // the builder's own network
	NetworkNone Network = "none" // loopback only
)

// Run runs one command in the image.
type Run struct {
	// Name is shown in progress; default: the command's first line.
	Name string `json:"-"`
	// Shell is a script for /bin/sh -e. Args is a command without a shell.
	// Exactly one of them is set.
	Shell string   `json:"shell,omitempty"`
	Args  []string `json:"args,omitempty"`
	// Env holds for this step only and is not kept in the image.
	Env map[string]string `json:"env,omitempty"`
	// Dir and User default to the image's own.
	Dir  string `json:"dir,omitempty"`
	User string `json:"user,omitempty"`
	// Network defaults to NetworkHost.
	Network Network `json:"network,omitempty"`
	// Secrets and Caches are there while the step runs and never in a layer.
	Secrets []Secret     `json:"secrets,omitempty"`
	Caches  []CacheMount `json:"caches,omitempty"`
	// Mounts show files of other images, read-only, while the step runs.
	Mounts []Mount `json:"mounts,omitempty"`
	// Roots are directories of the image that get the step's /dev and /proc too while
	// it runs, for programs that work in a root of their own (rpm --root). What was
	// made for that is gone after the step.
	Roots []string `json:"roots,omitempty"`
	// Timeout ends the step as failed; 0 means none. Not part of the identity.
	Timeout time.Duration `json:"-"`
}

// Secret is a file or a variable that a step sees; its value is never part of
// the identity, a layer, a log, an event or a plan.
type Secret struct {
	// ID names the secret in the request (--secret id=…).
	ID string `json:"id"`
	// Target is the file's path in the image; default /run/secrets/ID.
	Target string `json:"target,omitempty"`
	// Env puts the value in that variable instead of a file.
	Env string `json:"env,omitempty"`
	// Mode of the file, default 0400.
	Mode fs.FileMode `json:"mode,omitempty"`
	// Optional: a missing secret is no error.
	Optional bool `json:"optional,omitempty"`
}

// CacheMount is a directory kept between builds on the builder.
type CacheMount struct {
	// ID names the cache; default the Target.
	ID string `json:"id,omitempty"`
	// Target is the directory in the image, an absolute path.
	Target string `json:"target"`
}

// Mount binds a file or directory of another image over a path, read-only, while
// a step runs. The other image may be for another platform. A mount point that was
// not there is gone after the step.
type Mount struct {
	// From is the image to show.
	From Image `json:"-"`
	// Src is an absolute path in From, Target one in the image. Both are
	// directories or both are files.
	Src    string `json:"src"`
	Target string `json:"target"`
}

// Copy copies files from another image or a [Local] directory. Paths follow
// BuildKit's COPY: a directory's content is copied, not the directory itself,
// and a Dst that ends in / or is given several sources is a directory.
type Copy struct {
	// From is the image to copy from.
	From Image `json:"-"`
	// Src are paths in From, path.Match patterns allowed.
	Src []string `json:"src"`
	// Dst is an absolute path in the image.
	Dst string `json:"dst"`
	// Owner is "uid:gid" in numbers; default: 0:0 from Local, kept from images.
	Owner string `json:"owner,omitempty"`
	// Mode of the files copied, default: kept.
	Mode fs.FileMode `json:"mode,omitempty"`
}

// File makes one file, directory or symbolic link. Parents that are missing are
// made with mode 0755, owner 0:0.
type File struct {
	// Path is absolute.
	Path string `json:"path"`
	// Data is the content of a regular file.
	Data []byte `json:"data,omitempty"`
	// Link is the target of a symbolic link; Dir makes a directory.
	Link string `json:"link,omitempty"`
	Dir  bool   `json:"dir,omitempty"`
	// Mode defaults to 0644, for directories 0755. Setuid, setgid and sticky
	// are given as Unix numbers: 04755.
	Mode uint32 `json:"mode,omitempty"`
	// Owner is "uid:gid" in numbers, default 0:0.
	Owner string `json:"owner,omitempty"`
}

// Remove removes paths and what is below them; a missing path is no error.
type Remove struct {
	// Paths are absolute, path.Match patterns allowed in the last element.
	Paths []string `json:"paths"`
}

// Configure changes the image configuration (OCI image spec, config.md). Nil and
// empty fields leave things as they are.
type Configure struct {
	Env          map[string]string `json:"env,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Cmd          []string          `json:"cmd,omitempty"`
	User         string            `json:"user,omitempty"`
	WorkingDir   string            `json:"working_dir,omitempty"`
	StopSignal   string            `json:"stop_signal,omitempty"`
	Volumes      []string          `json:"volumes,omitempty"`
	ExposedPorts []string          `json:"exposed_ports,omitempty"`
	Author       string            `json:"author,omitempty"`
}

func (Scratch) kind() string   { return "scratch" }
func (Pull) kind() string      { return "pull" }
func (Layout) kind() string    { return "layout" }
func (Local) kind() string     { return "local" }
func (Bootstrap) kind() string { return "bootstrap" }
func (Run) kind() string       { return "run" }
func (Copy) kind() string      { return "copy" }
func (File) kind() string      { return "file" }
func (Remove) kind() string    { return "remove" }
func (Configure) kind() string { return "configure" }

func (Scratch) source()   {}
func (Pull) source()      {}
func (Layout) source()    {}
func (Local) source()     {}
func (Bootstrap) source() {}

func (Run) step()       {}
func (Copy) step()      {}
func (File) step()      {}
func (Remove) step()    {}
func (Configure) step() {}
