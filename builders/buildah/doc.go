// Package buildah builds images on this machine with the libraries of Buildah
// and Podman (go.podman.io/buildah, storage and image), as root or as an ordinary
// user, and needs no buildah, podman or runc installed.
//
// # Life of a build
//
// [Backend]'s builder starts a copy of this program (see [Child]) for each build
// and hands it the request through a pipe. The child enters a user namespace when
// it is not root, and a mount namespace of its own in any case, so nothing it
// mounts is seen outside or outlives it. There it lowers the graph to a source
// and a list of steps, finds the deepest step whose layer it has kept, and works
// upwards from there:
//
//   - layers live in a containers/storage store below the state directory (native
//     overlay, fuse-overlayfs or vfs: the first that a real probe finds working);
//   - a Run step runs in a stage: one more copy of this program as first process
//     of its own PID, mount, IPC and UTS namespaces, so that nothing a step starts
//     survives it. The step's root is pivoted into; with isolation "runc", runc
//     takes over there;
//   - File, Copy, Remove and Configure steps that follow each other share a layer;
//   - a layer's content is what differs from the layer below, found by comparing
//     the two and written in one canonical form, so that its digest depends
//     neither on the storage driver nor on who builds;
//   - base layers are passed on as the very blobs they came as.
//
// What a step made is found again under a key: the hash of the step, of the key
// below it and of the content it copies. Keys, layers and blobs are recorded after
// they are whole; a child that is killed leaves a layer without a record, which
// the next one removes.
//
// # Build tags
//
// The backend needs cgo and the tags containers_image_openpgp and
// exclude_graphdriver_btrfs; otherwise [Backend] is a stub that says so.
package buildah
