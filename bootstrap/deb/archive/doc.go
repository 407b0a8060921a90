// Package archive reads Debian and Ubuntu archives: release files with their
// OpenPGP signatures, package indexes, and packages, from several mirrors, into a
// content-addressed cache that several processes can share.
//
// A mirror is never believed. What is used is signed by an archive key, in date,
// the freshest that any mirror offered, and every file below it has the size and
// SHA-256 that the release file and index say. A mirror that is down, slow, stale
// or wrong costs time; when none is left the error says what was wrong with each.
//
//	c := &archive.Client{HTTP: http, CacheDir: dir}
//	suites, pkgs, err := c.Load(ctx, sources, site, "arm64", now, events)
//	err = c.Fetch(ctx, chosen, events, func(p *archive.Package, path string) error { … })
//
// The formats are those of https://wiki.debian.org/DebianRepository/Format.
//
// The cache:
//
//	dists/HASH              the last good release of one suite of one mirror
//	blobs/sha256/HEX        a whole file: an index or a package
//	blobs/sha256/HEX.part   one that is being fetched, or that a run left behind
//
// Nothing in it is trusted when it is read: releases are verified again, files
// hashed again. That is why none of it is synced to disk, which would take longer
// than fetching it.
package archive
