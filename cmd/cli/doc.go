// Package cli is cfbuild's command line, importable: a program of your own lists
// its targets, backends, bootstrappers and publisher in an [App] and hands it to
// [Main]. cmd/cfbuild is such a program, `cfbuild init` writes another.
//
//	func main() {
//		if buildah.Child() {
//			return
//		}
//		os.Exit(cli.Main(cli.App{
//			Name:     "images",
//			Pipeline: targets,
//			Backends: []builders.Backend{buildah.Backend()},
//			…
//		}))
//	}
//
// This is the one place that reads the environment, the clock, the working
// directory and the terminal; everything below gets them as values ([Env]).
// Results go to stdout, everything else to stderr. Exit codes are in [ExitCodes].
package cli
