//go:build !no_buildkit && linux && containers_image_openpgp

package buildkit

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do about it.
func (h *hinted) Hint() string { return h.hint }
