package squashfs

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrNotSquashfs: the bytes are something else, or another version of squashfs.
var ErrNotSquashfs = errors.New("not a squashfs 4.0 image")

// ErrTruncated: the image ends before its superblock says.
var ErrTruncated = errors.New("squashfs image is cut short")

// ErrCorrupt: the image contradicts itself or its blocks do not decompress.
var ErrCorrupt = errors.New("squashfs image is corrupt")

func corrupt(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, a...)...)
}

// EntryError: an entry cannot go into the image.
type EntryError struct {
	Path   string
	Reason string
	// Err is the cause where there is one, such as the error of the content's reader.
	Err error
}

func (e *EntryError) Error() string {
	s := strconv.Quote(e.Path) + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *EntryError) Unwrap() error { return e.Err }

// XattrError: squashfs has no place for an extended attribute. It keeps the
// namespaces user, trusted and security; POSIX ACLs are in system.
type XattrError struct{ Path, Name, Reason string }

func (e *XattrError) Error() string {
	return fmt.Sprintf("%q: extended attribute %q: %s", e.Path, e.Name, e.Reason)
}
