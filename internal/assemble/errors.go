package assemble

import (
	"errors"
	"fmt"

	"github.com/cfbuild/cfbuild/internal/oci"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/opencontainers/go-digest"
)

// LayerError says which layer cannot be used. Err matches [oci.ErrHostile] or
// [oci.ErrCorrupt] when the layer is at fault.
type LayerError struct {
	// Node is the last step of the layer's group; nil for a layer of the base.
	Node   *pipelines.Node
	Digest digest.Digest
	Err    error
}

func (e *LayerError) Error() string {
	if e.Node == nil {
		return fmt.Sprintf("base layer %s: %v", e.Digest, e.Err)
	}
	s := fmt.Sprintf("layer %s of step %q: %v", e.Digest, e.Node.Name, e.Err)
	if w := e.Node.Where.String(); w != "" {
		s = w + ": " + s
	}
	return s
}

func (e *LayerError) Unwrap() error { return e.Err }

// Hint says what to do about a broken layer.
func (e *LayerError) Hint() string {
	switch {
	case !errors.Is(e.Err, oci.ErrCorrupt) && !errors.Is(e.Err, oci.ErrHostile):
		return ""
	case e.Node == nil:
		return "the image it belongs to is damaged: pull or build it again"
	}
	return "what the builder handed over is damaged: build again, and without its caches if that does not help"
}
