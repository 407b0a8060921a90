// Package unpack turns apk packages (version 2) into one layer, with apk's own
// database of what is installed, without running anything: owners by number or name,
// modes, extended attributes, hard links, and packages that replace files of others.
//
// Scripts are not run. [Summary] says which there are, in the order in which apk runs
// them.
package unpack
