// Package sif turns OCI images into SIF files, the one-file images of Apptainer and
// Singularity, and reads SIF files.
//
// The layers of an image become a squashfs file system as they stream by: owners,
// modes, devices, hard links and file capabilities stay, with no root, no user
// namespace, no extraction to disk and no external program. What real Apptainer
// adds when it builds from an OCI image is added too: /.singularity.d and its links,
// the definition file, labels, environment and run script, and the same data objects
// in the same order. The scripts are our own.
//
// The same image and options give the same bytes.
package sif
