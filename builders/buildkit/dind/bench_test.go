package dind

import (
	"testing"

	"github.com/cfbuild/cfbuild/internal/dockerdtest"
)

// What it costs to have a BuildKit in a daemon: cold (the image is loaded, a container
// created), and warm (both are there).
func BenchmarkOpen(b *testing.B) {
	for name, kind := range daemons {
		dockerd := dockerdtest.Start(b, kind)
		o := options(b, dockerd)
		o.Route, o.Log = Container, nil
		run := func(b *testing.B, keep Keep) {
			o := o
			o.Keep = keep
			for b.Loop() {
				d, err := Open(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := d.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		}
		b.Run(name+"/cold", func(b *testing.B) { run(b, KeepNothing) })
		b.Run(name+"/container", func(b *testing.B) { run(b, KeepState) })
		b.Run(name+"/warm", func(b *testing.B) { run(b, KeepRunning) })
		o.Route = Auto
		if kind.Newer {
			b.Run(name+"/embedded", func(b *testing.B) { run(b, KeepRunning) })
		}
	}
}
