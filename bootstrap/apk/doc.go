// Package apk makes Alpine roots from a mirror, in pure Go, for any architecture on
// any host: neither apk, root nor a user namespace is needed.
//
// [New] gives the bootstrapper. Package index reads and verifies what a repository
// serves, resolve chooses the packages, unpack writes the layer with apk's database;
// here is what ties them together: fetching over mirrors, the cache of finished
// roots, and the step that runs the packages' scripts in the image itself.
package apk
