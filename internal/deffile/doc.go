// Package deffile writes a graph as an Apptainer definition file, which apptainer build
// makes a SIF image of without cfbuild.
//
// Each image that is the result or that files are copied from is one stage; a stage
// repeats what it stands on, as a stage cannot start from another. Steps become commands
// of %post in their order. What a definition file cannot say is an
// [builders.UnsupportedError] with the author's line, never left out.
//
// Sources: the chapter on definition files of the Apptainer user guide, and what
// Apptainer 1.4.5 does with them: a section is at most 64 KiB, but sections of one name
// are joined; a line whose first word begins with % starts a section also inside a
// here-document; {{ name }} is replaced everywhere.
package deffile
