// Package assemble makes final images: a base that is passed on as it is, and on top
// of it the layers of steps, in one form, so that an image's digest depends on the
// graph alone and not on what ran the steps.
//
// A backend that has the files of a layer on this machine compares them itself and
// writes the entries with [MakeLayer]. One that gets archives from elsewhere, in
// whatever order, with parents repeated and time stamps of a foreign clock, hands
// them to [Write], which compares them with the layers below by content.
//
// The form of a layer (OCI image spec, layer.md): an entry that is as it was below is
// left out, and so is the mere time stamp of a directory; sorted by path; a removed
// path has one whiteout, and nothing is opaque; names of one file are together in the
// layer where the file changed; whole seconds, none later than the epoch; numbers for
// owners; gzip of package oci. A layer that changes nothing is none.
package assemble
