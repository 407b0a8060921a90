package archive_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/pipelines"
)

// A suite that no mirror has is answered with those there are: as the mirror lists
// them, else as the program knows them, and where one has moved to.
func TestSuiteThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	key := archivetest.NewKey(t, time.Now().Add(-time.Hour))
	for _, name := range []string{"alpha", "beta", "beta-updates", "beta-backports"} {
		archivetest.Suite{Codename: name, Date: time.Now().Add(-time.Hour), Key: key}.Write(t, dir)
	}
	open := archivetest.Serve(t, dir)
	closed := archivetest.Serve(t, dir)
	closed.Fault(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "dists/") {
			return false
		}
		http.Error(w, "no listing", http.StatusForbidden)
		return true
	})
	for _, c := range []struct {
		mirror            string
		repository, suite string
		hint              string
	}{
		{open.URL, "debian", "bta", "did you mean beta? there is alpha, beta at http"},
		{open.URL, "debian", "gamma", "there is alpha, beta at http"},
		{closed.URL, "debian", "bookwurm", "did you mean bookworm? the releases of debian are bullseye, bookworm"},
		{closed.URL, "debian", "buster", "buster is in the repository debian-archive"},
		{closed.URL, "debian", "noble-updates", "noble is in the repository ubuntu"},
		{closed.URL, "ubuntu-ports", "mantic", "mantic is in the repository ubuntu-old-releases"},
		{closed.URL, "debian", "bookworm", "check the suite's name"},
		{closed.URL, "mine", "unheard", "check the suite's name"},
	} {
		w := newWorld(t)
		_, err := w.c.Open(context.Background(), pipelines.PackageSource{Repository: c.repository, Suite: c.suite}, []string{c.mirror}, key.Keyring(t), time.Now(), nil)
		h, ok := err.(interface{ Hint() string })
		if !ok || !strings.HasPrefix(h.Hint(), c.hint) {
			t.Errorf("%s in %s: %v, hint %v, want %q", c.suite, c.repository, err, h, c.hint)
		}
	}
}
