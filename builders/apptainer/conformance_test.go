package apptainer_test

import (
	"testing"

	"github.com/cfbuild/cfbuild/builders/builderstest"
)

func TestConformance(t *testing.T) { builderstest.Run(t, opener) }
