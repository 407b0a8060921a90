// Package gunzip reads gzip (RFC 1952) and deflate (RFC 1951) about twice as fast as
// the libraries in use: it decodes into a linear window, eight bytes of input at a time,
// and writes several symbols between two looks at its limits.
package gunzip
