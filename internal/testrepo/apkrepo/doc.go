// Package apkrepo makes signed Alpine repositories for tests, sound ones and hostile
// ones, and serves them on loopback with whatever faults a test wants.
//
// [Alpine] and [Apk] are the packages and the apk of an image of Alpine that whoever runs
// the tests names ([ImageVariable]); tests that need them are skipped without it. They
// were written with the image of Alpine 3.11, whose apk is 2.10.4, and expect 2.10 to
// 2.14; where apk 3 is known to differ, they say so.
package apkrepo
