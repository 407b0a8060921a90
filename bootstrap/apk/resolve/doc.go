// Package resolve chooses the packages of a new root, as "apk add" does on an empty
// one: the newest versions that fit together, providers by version and priority,
// packages that install themselves where others are (install_if), and the order in
// which apk would install them.
package resolve
