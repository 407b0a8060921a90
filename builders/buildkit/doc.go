// Package buildkit builds images in a BuildKit daemon, on this machine or another.
//
// # Life of a build
//
// The graph is lowered to BuildKit's low-level build definition (package llb): a Run is
// a command, and File, Copy, Remove and Configure steps that follow each other are one
// file operation, so that each group of steps is one vertex and makes one layer. What
// the definition needs from here travels through the session, by digest: images as OCI
// layouts (roots, images of registries, which this side pulls), files of the definition
// and of this machine as layouts of one plain layer, secrets by name. The daemon keeps
// all but secrets and asks again only for what it has forgotten.
//
// One solve makes one image for one platform. Lowering goes on while the daemon works:
// where the meaning of a step depends on what is there, as with a copy into a
// directory, it looks at what the steps before have made.
//
// The daemon sends back the layers that its steps made, and package assemble makes an
// image of them: one that depends on the content alone, so that it is the same as
// buildah's.
//
// # State directory
//
//	content   an OCI layout without an index: packed files, pulled images, layers from daemons
//	layers    what package assemble keeps
//	pulls     which image of a registry became which here
//	use.lock  shared while a build is on; pruning wants it alone
//
// # Build tags
//
// The tag no_buildkit leaves the backend out; it needs containers_image_openpgp.
package buildkit
