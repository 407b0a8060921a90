// Package dind makes a Docker daemon usable as a BuildKit: the one of DOCKER_HOST, which a
// GitLab job with the docker:dind service has, or a machine's own.
//
// A daemon whose images are in containerd's store has a BuildKit that exports what we need;
// it is dialled through the daemon's API. Any other daemon's has no such exporters. There a
// buildkitd of our own runs in a privileged container, from an image that is made here out
// of three static programs and loaded through the API, so that nothing is pulled. Its state
// is in a named volume: a daemon that lives on stays warm. It is reached by exec, so no port
// is open.
//
// The container's name is made of all that it consists of. Clients that want the same share
// one, at the same time too; what dies half-way leaves nothing that the next one trips over.
//
// Nothing here reads the environment: what it says comes in through [Environment].
package dind
