package sif

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cfbuild/cfbuild/internal/squashfs"
	"github.com/sylabs/sif/v2/pkg/sif"
)

// ErrNotSIF: a file is something else.
var ErrNotSIF = errors.New("not a SIF file")

// ErrChanged: the content is not what the ID of the SIF was made of.
var ErrChanged = errors.New("SIF was changed")

// ObjectError: a data object of a SIF is not what it should be.
type ObjectError struct {
	ID   uint32
	Type string
	Err  error
}

func (e *ObjectError) Error() string { return fmt.Sprintf("object %d (%s): %v", e.ID, e.Type, e.Err) }
func (e *ObjectError) Unwrap() error { return e.Err }

// Object is one data object of a SIF.
type Object struct {
	ID     uint32 `json:"id"`
	Group  uint32 `json:"group"`
	Type   string `json:"type"`
	Name   string `json:"name,omitempty"`
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	// FileSystem and Arch of a partition.
	FileSystem string `json:"fileSystem,omitempty"`
	Arch       string `json:"arch,omitempty"`
}

// Image is a SIF file that is open.
type Image struct {
	ID      string    `json:"id"`
	Arch    string    `json:"arch"`
	Created time.Time `json:"created"`
	Objects []Object  `json:"objects"`

	f    *os.File
	img  *sif.FileImage
	size int64
}

// maxJSON bounds the objects that are read whole, in bytes.
const maxJSON = 64 << 20

// Open opens a SIF file. The error matches [ErrNotSIF], or is an [ObjectError] when
// the file ends before an object does.
func Open(path string) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	i, err := load(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return i, nil
}

func load(f *os.File) (*Image, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file", ErrNotSIF)
	}
	img, err := sif.LoadContainer(f, sif.OptLoadWithFlag(os.O_RDONLY), sif.OptLoadWithCloseOnUnload(false))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrNotSIF, err)
	}
	i := &Image{ID: img.ID(), Arch: img.PrimaryArch(), Created: img.CreatedAt().UTC(), f: f, img: img, size: st.Size()}
	var bad error
	img.WithDescriptors(func(d sif.Descriptor) bool {
		o := Object{ID: d.ID(), Group: d.GroupID(), Type: d.DataType().String(), Name: d.Name(), Offset: d.Offset(), Size: d.Size()}
		if o.Offset < 0 || o.Size < 0 || o.Offset > i.size || o.Size > i.size-o.Offset {
			bad = &ObjectError{o.ID, o.Type, fmt.Errorf("%w: its %d bytes at %d are beyond the end of the file, which has %d", io.ErrUnexpectedEOF, o.Size, o.Offset, i.size)}
		}
		if fs, _, arch, err := d.PartitionMetadata(); err == nil {
			o.FileSystem, o.Arch = fs.String(), arch
		}
		i.Objects = append(i.Objects, o)
		return bad != nil
	})
	return i, bad
}

// Close closes the file.
func (i *Image) Close() error { return i.f.Close() }

// Data reads the object of a name, such as inspect-metadata.json.
func (i *Image) Data(name string) ([]byte, error) {
	for _, o := range i.Objects {
		if o.Name != name {
			continue
		}
		if o.Size > maxJSON {
			return nil, &ObjectError{o.ID, o.Type, fmt.Errorf("%d bytes are more than %d", o.Size, maxJSON)}
		}
		b := make([]byte, o.Size)
		_, err := i.f.ReadAt(b, o.Offset)
		return b, err
	}
	return nil, fmt.Errorf("no object %q", name)
}

// FS opens the primary system partition, which must be squashfs.
func (i *Image) FS() (*squashfs.FS, error) {
	d, err := i.img.GetDescriptor(sif.WithPartitionType(sif.PartPrimSys))
	if err != nil {
		return nil, fmt.Errorf("primary partition: %w", err)
	}
	fail := func(err error) (*squashfs.FS, error) { return nil, &ObjectError{d.ID(), d.DataType().String(), err} }
	if fs, _, _, err := d.PartitionMetadata(); err != nil || fs != sif.FsSquash {
		return fail(fmt.Errorf("its file system is %v, want squashfs (%v)", fs, err))
	}
	q, err := squashfs.Open(io.NewSectionReader(i.f, d.Offset(), d.Size()), d.Size())
	if err != nil {
		return fail(err)
	}
	return q, nil
}

// Attributes reads what apptainer inspect shows: labels, environment, scripts.
func (i *Image) Attributes() (map[string]any, error) {
	raw, err := i.Data(inspectName)
	if err != nil {
		return nil, err
	}
	var v struct {
		Data struct {
			Attributes map[string]any `json:"attributes"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", inspectName, err)
	}
	return v.Data.Attributes, nil
}

// Verify reads the whole file: every block of the file system and each JSON object.
// Files of [Convert] are compared with their ID too. It finds damage, not forgery; that
// takes a signature. Errors are [ObjectError]s or match [ErrChanged].
func (i *Image) Verify(ctx context.Context) (squashfs.Stats, error) {
	for _, o := range i.Objects {
		if o.Type == sif.DataGenericJSON.String() && o.Size <= maxJSON {
			b := make([]byte, o.Size)
			if _, err := i.f.ReadAt(b, o.Offset); err != nil {
				return squashfs.Stats{}, &ObjectError{o.ID, o.Type, err}
			}
			if !json.Valid(b) {
				return squashfs.Stats{}, &ObjectError{o.ID, o.Type, fmt.Errorf("%s is no JSON", o.Name)}
			}
		}
	}
	q, err := i.FS()
	if err != nil {
		return squashfs.Stats{}, err
	}
	st, err := q.Verify(ctx)
	if err == nil {
		return st, i.verifyID(ctx)
	}
	for _, o := range i.Objects {
		if o.FileSystem != "" {
			err = &ObjectError{o.ID, o.Type, err}
			break
		}
	}
	return st, err
}

// verifyID compares the content with the ID that [Convert] makes of it; files of
// others have random ones.
func (i *Image) verifyID(ctx context.Context) error {
	if len(i.ID) != 36 || i.ID[14] != '8' {
		return nil
	}
	var definition, inspect, config string
	var part Object
	for _, o := range i.Objects {
		var to *string
		switch {
		case o.Type == sif.DataDeffile.String():
			to = &definition
		case o.Name == inspectName:
			to = &inspect
		case o.Name == configName:
			to = &config
		case o.FileSystem != "" && part.ID == 0:
			part = o
		}
		if to != nil && *to == "" && o.Size <= maxJSON {
			b := make([]byte, o.Size)
			if _, err := i.f.ReadAt(b, o.Offset); err != nil {
				return &ObjectError{o.ID, o.Type, err}
			}
			*to = string(b)
		}
	}
	id, err := identity(ctx, definition, inspect, config, io.NewSectionReader(i.f, part.Offset, part.Size))
	if err == nil && id != i.ID {
		err = fmt.Errorf("%w: its ID is %s, its content gives %s", ErrChanged, i.ID, id)
	}
	return err
}
