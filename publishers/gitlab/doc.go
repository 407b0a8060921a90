// Package gitlab publishes files to GitLab's generic package registry and removes
// old ones.
//
// [Publish] asks what is there, sends what is not, and reads all of it back. A file
// is read once: its SHA-256 is computed as it goes out and compared with what GitLab
// computed. A file that is there already is not sent. Beside the files lies
// SHA256SUMS, of everything in that version of the package, and NAME.json for each
// file that has [File.Meta].
//
// A version that is new stays hidden (status=hidden) until its last file,
// SHA256SUMS, is there; that upload makes it visible. A run that breaks off leaves a
// hidden version, and the next one goes on from there.
//
// The API: docs.gitlab.com/user/packages/generic_packages and
// docs.gitlab.com/api/packages.
package gitlab
