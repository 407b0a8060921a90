// Package squashfs writes and reads squashfs 4.0 file systems, the read-only
// images that Linux mounts and SIF files carry (Documentation/filesystems/squashfs.rst
// of the kernel; the layout is little-endian throughout).
//
// [Writer] streams: content is compressed and written as it comes, in parallel, and
// only what describes the files stays in memory, some 300 bytes for each. The bytes
// written depend on the entries, their order and the options, never on the number of
// workers or on time. [FS] reads images, also hostile ones, with bounded memory.
package squashfs
