// Package rpmfile reads and writes the RPM v4 package format: lead, signature
// header, header and payload (rpm.org, "RPM V4 Package format").
//
// Reading is for packages that nobody has vouched for yet: every length is bounded
// and checked before it is used, and no input makes it panic.
package rpmfile
