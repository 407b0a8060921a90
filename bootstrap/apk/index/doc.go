// Package index reads what Alpine's repositories serve, in version 2 of apk-tools'
// formats (apk-v2(5)): a signed index, and packages that the index names by a hash.
//
// Both are gzip members one after the other, which unpack to one tar: the signature,
// then the control part, then the data. The signature is of the compressed bytes that
// follow its member, the hash of a package in the index is of its control member, and
// the control member says the hash of the data member.
package index
