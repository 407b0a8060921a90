package rpm_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/rpm"
)

// The identity is known without a package and is the one of the root made then.
func TestIdentify(t *testing.T) {
	w := newSmall(t)
	identify := func() bootstrap.Identity {
		t.Helper()
		b := rpm.New(rpm.Options{Grace: 300 * time.Millisecond, Keys: w.keys})
		id, err := b.(bootstrap.Identifier).Identify(t.Context(), w.req)
		if err != nil || id.Root == "" || len(id.Metadata) != 1 {
			t.Fatalf("%+v %v", id, err)
		}
		return id
	}
	id := identify()
	root, err := w.make(t)
	if err != nil {
		t.Fatal(err)
	}
	if made := root.Identity; root.Cached || made.Root != id.Root || !slices.Equal(made.Metadata, id.Metadata) {
		t.Errorf("made %+v, was to be %+v", made, id)
	}
	w.req.Op.Include = []string{"lib"}
	if identify().Root == id.Root {
		t.Error("other packages make no difference")
	}
}
