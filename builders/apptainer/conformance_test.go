package apptainer_test

import (
	"testing"

	"github.com/cfbuild/cfbuild/builders/builderstest"
)

// What Apptainer does in its own way is left out; docs/apptainer.md has it for users.
func TestConformance(t *testing.T) {
	oneLayer, noCache, root := "Apptainer makes one file system", "Apptainer keeps no results of steps", "Apptainer runs steps as root"
	adds := "Apptainer adds directories, /etc/hosts and /etc/resolv.conf to every image"
	builderstest.RunExcept(t, opener, map[string]string{
		"image without steps is passed on":                oneLayer,
		"base layers are passed on as they are":           oneLayer,
		"scratch alone":                                   adds,
		"copy what is included":                           adds,
		"what steps find":                                 adds,
		"mounts of another image":                         "a step can write what it is shown, which is thrown away",
		"authorities of the site, only while a step runs": "a step can write what it is lent, which is thrown away",
		"environment, directory and user":                 root,
		"a step that does not start":                      root,
		"steps are kept":                                  noCache,
		"what is copied is the key":                       noCache,
		"several at once":                                 noCache,
		"results of steps travel":                         noCache,
		"bad caches cost no more than steps":              noCache,
		"a step fails":                                    noCache,
		"a foreign platform":                              "it builds for this machine's platform alone",
		"files for a platform that cannot run":            "the SIF file would say that it is for this machine",
	})
}
