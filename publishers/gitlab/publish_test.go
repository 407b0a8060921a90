package gitlab

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cfbuild/cfbuild/internal/gitlabtest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	api "gitlab.com/gitlab-org/api/client-go"
)

// What is published is read back with GitLab's own client: list, sizes, hashes and
// the bytes, through a download that an object store serves.
func TestPublish(t *testing.T) {
	s := gitlabtest.Start(t, true)
	s.Set(func(v *gitlabtest.Settings) { v.ObjectStore = true })
	path := image(t, "debian12-1.2.0-amd64.sif", 300<<10)
	var ev events
	o := options(s)
	o.Events = ev.sink
	o.Site = site.Site{CAs: []site.Certificate{{Name: "lab", PEM: s.CA()}}}
	s.Fail(gitlabtest.Fault{Method: "PUT", Path: ".sif.json", Times: 1, Do: func() {
		if p := one(t, s); p.Status != "hidden" {
			t.Errorf("the version has status %q before all files are there", p.Status)
		}
	}})
	r, err := Publish(t.Context(), []File{{Name: "debian12-1.2.0-amd64.sif", Path: path, Meta: map[string]string{"arch": "amd64"}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	p := one(t, s)
	if p.Status != "default" || namesOf(p) != "debian12-1.2.0-amd64.sif debian12-1.2.0-amd64.sif.json SHA256SUMS" {
		t.Errorf("there is %s, status %s", namesOf(p), p.Status)
	}
	if want := s.API() + "/projects/7/packages/generic/debian12/1.2.0/"; r.URL != want {
		t.Errorf("URL %q, want %q", r.URL, want)
	}
	if r.Sent != s.Body() || r.Sent < 300<<10 {
		t.Errorf("%d bytes sent by the receipt, %d by the server", r.Sent, s.Body())
	}
	gl, err := api.NewClient(s.Grant(PrivateToken, gitlabtest.Read), api.WithBaseURL(s.API()), api.WithHTTPClient(clientFor(t, o).http))
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := gl.Packages.ListPackageFiles(gitlabtest.Path, p.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	var sums strings.Builder
	for i, f := range list {
		if s := r.Files[i]; s.Name != f.FileName || s.Size != f.Size || s.SHA256 != f.FileSHA256 || !s.Sent {
			t.Errorf("receipt %+v, list %+v", s, f)
		}
		if f.FileName != Sums {
			fmt.Fprintf(&sums, "%s  %s\n", f.FileSHA256, f.FileName)
		}
	}
	if list[0].FileSHA256 != sumOf(t, path) {
		t.Errorf("SHA-256 %s, the file has %s", list[0].FileSHA256, sumOf(t, path))
	}
	got, _, err := gl.GenericPackages.DownloadPackageFile(gitlabtest.ID, "debian12", "1.2.0", Sums)
	if err != nil || string(got) != sums.String() {
		t.Errorf("%s is %q (%v), want %q", Sums, got, err, sums.String())
	}
	got, _, err = gl.GenericPackages.DownloadPackageFile(gitlabtest.ID, "debian12", "1.2.0", "debian12-1.2.0-amd64.sif.json")
	var meta struct {
		File, SHA256 string
		Size         int64
		Meta         map[string]string
	}
	if err == nil {
		err = json.Unmarshal(got, &meta)
	}
	if err != nil || meta.File != list[0].FileName || meta.SHA256 != list[0].FileSHA256 || meta.Size != 300<<10 || meta.Meta["arch"] != "amd64" {
		t.Errorf("metadata %s (%v)", got, err)
	}
	ev.mu.Lock()
	last := pipelines.Event{}
	for _, e := range ev.all {
		if e.Kind == pipelines.EventProgress && e.Name != "" {
			last = e
		}
	}
	ev.mu.Unlock()
	if last.Current != 300<<10 || last.Total != 300<<10 || last.Step != "push" {
		t.Errorf("the last progress is %+v", last)
	}

	// Again: no byte of a body.
	s.Forget()
	r, err = Publish(t.Context(), []File{{Name: "debian12-1.2.0-amd64.sif", Path: path, Meta: map[string]string{"arch": "amd64"}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if s.Count("PUT", "") != 0 || s.Count("DELETE", "") != 0 || s.Body() != 0 || r.Sent != 0 || r.Files[0].Sent || r.Files[2].SHA256 != list[2].FileSHA256 {
		t.Errorf("the second time %d bytes were sent: %+v", s.Body(), s.Requests())
	}
}

func clientFor(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A second platform joins a version that is visible; SHA256SUMS has both.
func TestSecondPlatform(t *testing.T) {
	s := gitlabtest.Start(t, false)
	o := options(s)
	amd, arm := image(t, "i-amd64.sif", 4000), image(t, "i-arm64.sif", 5000)
	for _, f := range []string{amd, arm} {
		if _, err := Publish(t.Context(), []File{{Name: f[strings.LastIndex(f, "/")+1:], Path: f}}, o); err != nil {
			t.Fatal(err)
		}
	}
	p := one(t, s)
	want := sumOf(t, amd) + "  i-amd64.sif\n" + sumOf(t, arm) + "  i-arm64.sif\n"
	if got := string(newest(t, p, Sums).Data); got != want || p.Status != "default" {
		t.Errorf("%s is %q (%s), want %q", Sums, got, p.Status, want)
	}
	if n := strings.Count(namesOf(p), Sums); n != 1 {
		t.Errorf("%d copies of %s stay", n, Sums)
	}
}

// Jobs for several platforms at once end with one complete list.
func TestPlatformsAtOnce(t *testing.T) {
	s := gitlabtest.Start(t, false)
	o := options(s)
	var wg sync.WaitGroup
	var want []string
	for i := range 4 {
		name := fmt.Sprintf("i-%d.sif", i)
		path := image(t, name, 3000+i)
		want = append(want, sumOf(t, path)+"  "+name+"\n")
		wg.Go(func() {
			if _, err := Publish(t.Context(), []File{{Name: name, Path: path}}, o); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	p := one(t, s)
	if got := string(newest(t, p, Sums).Data); got != strings.Join(want, "") || p.Status != "default" {
		t.Errorf("%s is %q (%s), want %q", Sums, got, p.Status, want)
	}
}

// Another file of the same name, by policy.
func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		policy       Policy
		noDuplicates bool
		right        gitlabtest.Rights
		copies       int    // of the file afterwards
		says, hint   string // of the error
		warns        string
	}{
		{Refuse, false, gitlabtest.Delete, 1, "i.sif: is there already and differs (4000 bytes, sha256:", "--on-conflict", ""},
		{Replace, false, gitlabtest.Delete, 1, "", "", ""},
		{Replace, true, gitlabtest.Delete, 1, "", "", "the old i.sif is deleted first"},
		{Replace, false, gitlabtest.Write, 2, "", "", "the old i.sif stays beside the new one"},
		{Replace, true, gitlabtest.Write, 1, "Duplicate package is not allowed; deleting the old i.sif", "Allow duplicates", ""},
		{Add, false, gitlabtest.Delete, 2, "", "", ""},
		{Add, true, gitlabtest.Delete, 1, "Duplicate package is not allowed", "Allow duplicates", ""},
	} {
		t.Run(fmt.Sprintf("%s duplicates off %v rights %d", c.policy, c.noDuplicates, c.right), func(t *testing.T) {
			s := gitlabtest.Start(t, false)
			old, other := image(t, "old", 4000), image(t, "new", 4000)
			if _, err := Publish(t.Context(), []File{{Name: "i.sif", Path: old}}, options(s)); err != nil {
				t.Fatal(err)
			}
			s.Set(func(v *gitlabtest.Settings) { v.NoDuplicates = c.noDuplicates })
			s.Forget()
			var ev events
			o := options(s)
			o.Token.Value = s.Grant(JobToken, c.right)
			o.Policy, o.Events = c.policy, ev.sink
			_, err := Publish(t.Context(), []File{{Name: "i.sif", Path: other}}, o)
			p := one(t, s)
			if n := strings.Count(namesOf(p), "i.sif"); n != c.copies {
				t.Errorf("%d copies, want %d: %s", n, c.copies, namesOf(p))
			}
			served := newest(t, p, "i.sif").SHA256
			if c.says != "" {
				stage := "upload"
				if c.policy == Refuse {
					stage = "compare"
					if s.Body() != 0 {
						t.Errorf("%d bytes were sent", s.Body())
					}
				}
				failed(t, err, stage, c.says, c.hint)
				if served != sumOf(t, old) {
					t.Error("another file is served now")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if served != sumOf(t, other) {
				t.Error("the old file is served still")
			}
			if got := string(newest(t, p, Sums).Data); got != sumOf(t, other)+"  i.sif\n" {
				t.Errorf("%s is %q", Sums, got)
			}
			if w := ev.text(pipelines.EventWarning); !strings.Contains(w, c.warns) {
				t.Errorf("warned %q, want %q", w, c.warns)
			}
		})
	}
}

// A deploy token may neither list nor delete.
func TestDeployToken(t *testing.T) {
	for _, store := range []bool{false, true} {
		s := gitlabtest.Start(t, false)
		s.Set(func(v *gitlabtest.Settings) { v.ObjectStore = store })
		o := options(s)
		o.Token = Token{DeployToken, s.Grant(DeployToken, gitlabtest.Write), "CI_DEPLOY_PASSWORD"}
		a, b := image(t, "a.sif", 3000), image(t, "b.sif", 3000)
		for _, f := range []File{{Name: "a.sif", Path: a}, {Name: "b.sif", Path: b}} {
			if _, err := Publish(t.Context(), []File{f}, o); err != nil {
				t.Fatal(err)
			}
		}
		want := sumOf(t, a) + "  a.sif\n" + sumOf(t, b) + "  b.sif\n"
		if got := string(newest(t, one(t, s), Sums).Data); got != want {
			t.Errorf("%s is %q, want %q", Sums, got, want)
		}
		s.Forget()
		if _, err := Publish(t.Context(), []File{{Name: "a.sif", Path: a}}, o); err != nil || s.Body() != 0 {
			t.Errorf("again: %v, %d bytes sent", err, s.Body())
		}
		_, err := Publish(t.Context(), []File{{Name: "a.sif", Path: b}}, o)
		failed(t, err, "compare", "is there already and differs", "--on-conflict")
		o.Policy = Replace
		_, err = Publish(t.Context(), []File{{Name: "a.sif", Path: b}}, o)
		failed(t, err, "options", "a deploy token may not delete", "the policy add")
	}
}

// An instance whose lists have no hashes is asked file by file.
func TestNoHashes(t *testing.T) {
	s := gitlabtest.Start(t, false)
	s.Set(func(v *gitlabtest.Settings) { v.NoHashes = true })
	o := options(s)
	path := image(t, "a.sif", 3000)
	s.Add(gitlabtest.Package{Name: "debian12", Version: "1.2.0", Files: []gitlabtest.File{{Name: "a.sif", Data: read(t, path)}}})
	var ev events
	o.Events = ev.sink
	for range 2 {
		r, err := Publish(t.Context(), []File{{Name: "a.sif", Path: path}}, o)
		if err != nil || r.Files[0].Sent || r.Files[0].SHA256 != sumOf(t, path) {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	if got := string(newest(t, one(t, s), Sums).Data); got != sumOf(t, path)+"  a.sif\n" || s.Count("PUT", "") != 1 {
		t.Errorf("%s is %q after %d uploads", Sums, got, s.Count("PUT", ""))
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
