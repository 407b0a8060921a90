// Package unpack turns Debian packages into one deterministic layer tar: the
// files of all packages and dpkg's database in the state "unpacked", as dpkg
// --unpack would leave them. Nothing of the packages is run or extracted on the
// host; configuring is left to steps in the image (see [Summary]).
//
// Packages are added in any order and in parallel; the tar depends on the
// packages and the options alone. File contents wait in spool files, so memory
// stays small whatever the size of the packages.
//
// Formats: deb(5), deb-control(5), dpkg's doc/spec for its database, POSIX pax.
package unpack
