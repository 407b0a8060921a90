// Package apptainer builds images with a site's own Apptainer: the graph becomes a
// definition file (internal/deffile), apptainer build makes a SIF file of it, and the
// artifact is that very file, with the same tree beside it as an OCI layout, so that
// image tests, lint and publishing have what they need.
//
// # Where Apptainer runs
//
// While apptainer build runs %post it shows the host's /tmp, /var/tmp and /dev in the
// image, as root's to write. A step that cleans /tmp would clean the host's. So
// Apptainer runs in namespaces that a copy of this program (see [Child]) makes: of users
// (root's own ids, or a user with subordinate ids as root), mounts, processes, and of
// the network where steps ask for none. There /tmp, /var/tmp, /root and /home are
// empty and /dev has a few harmless devices; what is built is below /mnt, which
// Apptainer does not show. When its first process ends, however that comes, so does
// everything that was started, and every mount is gone.
//
// Steps that the graph wants without a network and steps that may have one are built
// one after the other, each time on top of the SIF file made before.
package apptainer
