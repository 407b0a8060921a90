package oci

import (
	"reflect"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"
)

// expectMounts tells image/v5 where blobs may be on the same registry: it looks
// there, at up to five places, before one is sent, and mounts what it finds.
func (j *job) expectMounts() {
	host := reference.Domain(j.r.repo)
	for _, b := range j.blobs {
		trustLocations(j.p.cache, b.digest)
		for _, s := range j.p.o.MountFrom {
			from, err := reference.ParseNormalizedNamed(s)
			if err != nil || reference.Domain(from) != host || from.Name() == j.r.repo.Name() {
				continue
			}
			j.p.cache.RecordKnownLocation(docker.Transport, types.BICTransportScope{Opaque: host}, b.digest,
				types.BICLocationReference{Opaque: from.Name()})
		}
	}
}

// trustLocations lets a blob's known locations be used. image/v5 ignores those of
// blobs whose compression nobody recorded, and lets only its own copy code record
// it: the parameter's type is in an internal package, so the method is called by
// reflection. Its value matters to substitution alone, which a push never asks
// for. Were the method to change, blobs would be sent instead of mounted.
func trustLocations(cache types.BlobInfoCache, d digest.Digest) {
	record := reflect.ValueOf(cache).MethodByName("RecordDigestCompressorData")
	if !record.IsValid() || record.Type().NumIn() != 2 || record.Type().In(1).Kind() != reflect.Struct {
		return
	}
	data := reflect.New(record.Type().In(1)).Elem()
	base := data.FieldByName("BaseVariantCompressor")
	if !base.IsValid() || base.Kind() != reflect.String {
		return
	}
	base.SetString("uncompressed")
	record.Call([]reflect.Value{reflect.ValueOf(d), data})
}
