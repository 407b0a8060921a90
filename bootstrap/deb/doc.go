// Package deb makes Debian and Ubuntu roots from a mirror, in pure Go, for any
// architecture on any host: neither dpkg nor apt, root nor a user namespace is
// needed.
//
// [New] gives the bootstrapper. Package archive fetches and verifies, resolve
// chooses the packages, unpack writes the layer; here is what ties them together:
// the cache of finished roots, and the step that configures the root in the image
// itself.
package deb
