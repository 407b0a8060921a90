package buildah

// Name is what users type.
const Name = "buildah"

const describe = "on this machine, as root or as an ordinary user, nothing else installed"

// Usage is what the state directory holds.
type Usage struct {
	// Bytes on disk.
	Bytes int64 `json:"bytes"`
	// Layers kept for the step cache.
	Layers int `json:"layers"`
	// Removed is what Prune freed, in bytes.
	Removed int64 `json:"removed,omitempty"`
}
