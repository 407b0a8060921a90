// Package rpmrepo makes RPM repositories to test against.
//
// [RPM] makes single packages, sound ones and hostile ones; [Write] puts them into
// a signed repository with the real createrepo_c; [Serve] serves one on loopback
// with faults of every kind. [Distribution] is a whole runnable distribution, of
// the programs of Debian's packages, so that real rpm and dnf run in a root made of
// it.
package rpmrepo
