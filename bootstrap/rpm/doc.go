// Package rpm makes roots of RPM distributions from a mirror, for any architecture,
// with nothing of the distribution on the host: neither rpm nor dnf, root nor a
// user namespace is needed.
//
// [New] gives the bootstrapper. Package repo fetches and verifies the metadata,
// resolve chooses the packages, unpack checks their signatures. The distribution's
// own rpm installs them: it is unpacked natively, with what it needs, into a
// throw-away first stage together with the packages, and run there by a step that
// has no network. What it leaves below /target is the root.
package rpm
