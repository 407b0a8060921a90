// Package imagepull brings images of registries to this machine, by the site's mirrors,
// authorities and proxies, into an OCI layout that builds share. It needs the build tag
// containers_image_openpgp.
package imagepull
