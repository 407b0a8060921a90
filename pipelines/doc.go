// Package pipelines holds every noun that flows through cfbuild, as values.
//
// An author writes an [Image]: an opaque, immutable handle that starts at a
// [Source] ([From]) and grows by [Step] values ([Image.Then]). An Image has one
// [Platform]. Its second form is [Graph]: flat, content-addressed JSON for
// builders, generators, golden files and child processes.
//
//	img := pipelines.From(p, pipelines.Pull{Ref: "docker.io/library/debian:12"}).
//		Then(pipelines.Run{Shell: "apt-get update"}, pipelines.Configure{User: "1000"})
//	g, err := img.Graph()
//
// A [Target] names an Image for several platforms, a [Pipeline] is a set of
// targets, a [Plan] is what will be built: one [Job] per target and platform.
// Building gives an [Artifact] and a stream of [Event] values.
//
// The package imports the standard library only and does no I/O. The author's
// file and line are kept beside each node ([Position]) for errors; they are
// never part of an image's identity.
package pipelines
