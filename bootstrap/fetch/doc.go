// Package fetch gets what package repositories serve, whatever their format: the
// freshest validly signed metadata that several mirrors offer ([Freshest]), and
// files by their content over all mirrors, resumed and verified ([Client.Blob],
// [Client.Files]).
//
// A mirror that is down, slow, stale, half updated, or that answers with something
// else costs bounded time and is said in an event; what it serves is believed only
// as far as a signature or a hash says so.
package fetch
