// Package builderstest is what a builder has to do, as tests: the same cases for
// every backend. Results are compared on a listing of the flattened image that
// does not depend on how it is cut into layers. What a backend cannot do it
// declares in its Capabilities; a lack that is not declared fails here.
//
//	func TestConformance(t *testing.T) {
//		builderstest.Run(t, func(t *testing.T) builders.Builder { … })
//	}
package builderstest
