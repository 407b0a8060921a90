// Package lint checks images against the practices that laboratories and registries
// ask for: those of NASA's Center for Climate Simulation ("NCCS Containers Best
// Practices", 2021, sections 2.1-2.18 and 3.3), of Docker and of the OCI image
// specification.
//
// Each practice is a [Rule] with a stable id. A rule looks at a definition
// ([Definition]: a graph, before anything is built), at a built image ([Image]: an
// OCI layout, read without unpacking it and without running anything), at the name an
// image is published under ([Reference]), or at several of these. What it finds is a
// [Finding]: where, how bad, why, and what to do. [NewReport] joins the findings of
// several platforms, takes out what is accepted, and prints: as text, JSON, SARIF
// 2.1.0 or GitLab's code quality format.
//
// A finding never repeats a secret: it says what kind it is and where.
package lint
