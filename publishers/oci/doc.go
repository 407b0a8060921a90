// Package oci publishes images: several one-platform OCI layouts become one
// layout with all platforms ([Publisher.Bundle]), a tar for docker load
// ([Publisher.DockerArchive]) or a manifest list in a registry
// ([Publisher.Push]). [Publisher.Platforms] asks a registry what an image
// offers, and [Publisher.Pull] copies it into a layout.
//
// A push goes children first: blobs (those the registry has are not sent, those
// another of its repositories has are mounted), each platform's manifest by
// digest, the list by digest, then each tag. Everything is read back, so a nil
// error means durable, and a push that breaks off moves no tag. A second push
// sends nothing.
//
// Manifests are docker schema 2 ("v2s2", [docker image manifest v2, schema 2])
// or OCI. In v2s2 gzip layers and the configuration keep their blobs and
// digests, zstd and uncompressed layers are compressed with gzip, annotations
// are dropped.
//
// [docker image manifest v2, schema 2]: https://distribution.github.io/distribution/spec/manifest-v2-2/
package oci
