package apk_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/apk"
	"github.com/cfbuild/cfbuild/internal/testrepo/apkrepo"
)

// The identity is known without a package and is the one of the root made then.
func TestIdentify(t *testing.T) {
	key := apkrepo.NewKey(t, "test.rsa.pub")
	dir := t.TempDir()
	apkrepo.Repo{Key: key, Date: now.Add(-time.Hour), Pkgs: extras()}.Write(t, dir)
	m := apkrepo.Serve(t, dir, "127.0.0.1")
	r := request(t, key, []string{m.URL}, "links")
	id, err := apk.New(apk.Options{}).(bootstrap.Identifier).Identify(t.Context(), r)
	if err != nil || id.Root == "" || len(id.Metadata) != 1 {
		t.Fatalf("%+v %v", id, err)
	}
	for _, path := range m.Asked() {
		if strings.HasSuffix(path, ".apk") {
			t.Errorf("a package was fetched: %s", path)
		}
	}
	if made := makeRoot(t, r).Identity; made.Root != id.Root || !slices.Equal(made.Metadata, id.Metadata) {
		t.Errorf("made %+v, was to be %+v", made, id)
	}
	r.Op.Include = append(r.Op.Include, "docs")
	if more, err := apk.New(apk.Options{}).(bootstrap.Identifier).Identify(t.Context(), r); err != nil || more.Root == id.Root {
		t.Errorf("one more package makes no difference: %v", err)
	}
}
