// Package deffile writes Apptainer's definition files (Apptainer user guide,
// "Definition Files"; checked against 1.4.5) and lowers a graph to one that plain
// Apptainer builds.
//
// What Apptainer's reader does to a definition is respected wherever text of an author
// goes into it: a line whose first word begins with % starts a section, a line that
// begins with "bootstrap:" starts a stage, {{ word }} is a variable, carriage returns at
// the end of lines are lost, and a section of 64 KiB or more is an error. So text
// stands in shell quotes that are closed and opened again where such a thing would
// begin, and long scripts are several sections of one name, which Apptainer joins.
package deffile
