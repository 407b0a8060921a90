// Package apkrepo makes signed Alpine repositories for tests, sound ones and hostile
// ones, and serves them on loopback with whatever faults a test wants. [Alpine] gives
// the packages of a real, small Alpine, and [Apk] the real apk to compare with.
package apkrepo
