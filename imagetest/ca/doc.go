// Package ca proves that an image works behind a proxy that inspects TLS.
//
// An [Interceptor] on loopback terminates TLS with leaves of a throw-away
// [Authority], whose key never leaves memory, and asks a real [Origin] over TLS of
// its own. A [Probe] runs every client that an image has against it, in a step of
// the program's builder: where the image has the authority each has to succeed and
// its request has to arrive; where it has not, each has to fail and no request may
// arrive. A client that fares otherwise, or that succeeds in both, is red.
package ca
