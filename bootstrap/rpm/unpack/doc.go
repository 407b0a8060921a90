// Package unpack checks RPM packages by their signatures, and lays some of them
// over each other as a deterministic layer tar: a stage, in which the
// distribution's own rpm can run. Nothing of the packages is run or extracted on
// the host.
package unpack
