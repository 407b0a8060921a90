package gitlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/gitlabtest"
	"github.com/cfbuild/cfbuild/pipelines"
)

const size = 200 << 10

// Faults that end in an error: what it says, what mends it, and what GitLab holds.
func TestFailures(t *testing.T) {
	type fault = gitlabtest.Fault
	type settings = gitlabtest.Settings
	for _, c := range []struct {
		name              string
		set               func(*settings)
		fault             fault
		change            func(*testing.T, *gitlabtest.Server, *Options, *File)
		stage, says, hint string
		// body is the most that may have been sent, in bytes.
		body int64
	}{
		{name: "package name with a slash", change: func(_ *testing.T, _ *gitlabtest.Server, o *Options, _ *File) { o.Package = "base/debian12" },
			stage: "name", says: `package name "base/debian12": has a slash`, hint: "GitLab takes letters"},
		{name: "version with two dots", change: func(_ *testing.T, _ *gitlabtest.Server, o *Options, _ *File) { o.Version = "1..2" },
			stage: "name", says: `version "1..2": has two dots in a row`, hint: "GitLab takes letters"},
		{name: "file name with a slash", change: func(_ *testing.T, _ *gitlabtest.Server, _ *Options, f *File) { f.Name = "amd64/i.sif" },
			stage: "name", says: `file name "amd64/i.sif": has a slash`, hint: "GitLab takes letters"},
		{name: "no token", change: func(_ *testing.T, _ *gitlabtest.Server, o *Options, _ *File) { o.Token.Value = "" },
			stage: "options", says: "there is no token", hint: "CI_JOB_TOKEN"},
		{name: "a file that is not there", change: func(t *testing.T, _ *gitlabtest.Server, _ *Options, f *File) { f.Path += ".no" },
			stage: "files", says: "no such file", hint: "check the path"},
		{name: "a directory", change: func(t *testing.T, _ *gitlabtest.Server, _ *Options, f *File) { f.Path = t.TempDir() },
			stage: "files", says: "is not a regular file"},
		{name: "an empty file", change: func(t *testing.T, _ *gitlabtest.Server, _ *Options, f *File) { f.Path = "" },
			stage: "files", says: "i.sif: is empty"},
		{name: "more than 5 GiB", change: func(t *testing.T, _ *gitlabtest.Server, _ *Options, f *File) {
			f.Path = filepath.Join(t.TempDir(), "large.sif")
			if err := os.WriteFile(f.Path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(f.Path, 5<<30+1); err != nil {
				t.Fatal(err)
			}
		}, stage: "files", says: "has 5368709121 bytes, more than the limit of 5368709120", hint: "--max-size"},
		{name: "more than the instance takes", set: func(v *settings) { v.MaxSize = 1000 },
			stage: "upload", says: "answers 400 Bad Request: File is too large", hint: "generic_packages_max_file_size", body: size},
		{name: "more than the proxy takes", fault: fault{Method: "PUT", Status: 413, Body: "<html>413</html>"},
			stage: "upload", says: "413 Request Entity Too Large: with a page that is not GitLab's", hint: "client_max_body_size"},
		{name: "a token that ended", change: func(_ *testing.T, _ *gitlabtest.Server, o *Options, _ *File) { o.Token.Value = "ended" },
			stage: "connect", says: "answers 401 Unauthorized", hint: "CI_JOB_TOKEN is not valid as JOB-TOKEN"},
		{name: "a token without rights", change: func(_ *testing.T, s *gitlabtest.Server, o *Options, _ *File) {
			o.Token = Token{PrivateToken, s.Grant(PrivateToken, gitlabtest.Read), "GITLAB_TOKEN"}
		}, stage: "upload", says: "answers 403 Forbidden", hint: "GITLAB_TOKEN may not do this in project 7"},
		{name: "a protected name", set: func(v *settings) { v.PushProtected = "debian12" },
			stage: "upload", says: "403 Forbidden: Package protected", hint: "a protection rule of project 7 reserves package debian12"},
		{name: "no package registry", set: func(v *settings) { v.Disabled = true },
			stage: "connect", says: "403 Forbidden", hint: "turned off"},
		{name: "another project", change: func(_ *testing.T, _ *gitlabtest.Server, o *Options, _ *File) { o.Project = "group/other" },
			stage: "connect", says: "404 Not Found", hint: "allowlist"},
		{name: "cut at 90 %", fault: fault{Method: "PUT", Path: ".sif", Cut: true, CutAfter: size * 9 / 10},
			stage: "upload", says: "the connection broke off (after 3 attempts)", hint: "closes the connection", body: 3 * size},
		{name: "503", fault: fault{Method: "PUT", Status: 503},
			stage: "upload", says: "503 Service Unavailable: ordered by the test (after 3 attempts)", hint: "a problem of its own"},
		{name: "502 with a page", fault: fault{Method: "GET", Status: 502, Body: "<html>"},
			stage: "connect", says: "502 Bad Gateway: with a page that is not GitLab's (after 3 attempts)", hint: "a problem of its own"},
		{name: "throttled", fault: fault{Method: "GET", Status: 429},
			stage: "connect", says: "429 Too Many Requests", hint: "throttles"},
		{name: "disk full over there", fault: fault{Method: "PUT", Status: 507},
			stage: "upload", says: "507 Insufficient Storage", hint: "packages prune"},
		{name: "no answer to an upload", fault: fault{Method: "PUT", Hang: true}, change: func(_ *testing.T, _ *gitlabtest.Server, o *Options, _ *File) {
			o.Stall, o.Retries = 50*time.Millisecond, -1
		}, stage: "upload", says: "upload: i.sif: 127.0.0.1:PORT: no progress, the connection counts as lost for 50ms", hint: "does not go on", body: size},
		{name: "damaged each time", fault: fault{Method: "PUT", Path: ".sif", Corrupt: true},
			stage: "upload", says: "read back: GitLab has 204800 bytes with SHA-256", hint: "something on the way changes the file", body: 3 * size},
		{name: "a redirect", fault: fault{Method: "PUT", Status: 301, Location: "https://gitlab.example.org/api/v4/x"},
			stage: "upload", says: "redirects to https://gitlab.example.org", hint: "name the API by the URL it redirects to"},
		{name: "not GitLab", fault: fault{Method: "GET", Status: 200, Body: "<html>welcome</html>"},
			stage: "connect", says: "the answer cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := gitlabtest.Start(t, false)
			if c.set != nil {
				s.Set(c.set)
			}
			if c.fault.Method != "" {
				s.Fail(c.fault)
			}
			o := options(s)
			f := File{Name: "i.sif", Path: image(t, "i.sif", size)}
			if c.change != nil {
				c.change(t, s, &o, &f)
			}
			_, err := Publish(t.Context(), []File{f}, o)
			failed(t, err, c.stage, strings.ReplaceAll(c.says, "127.0.0.1:PORT", clientFor(t, options(s)).host), c.hint)
			if o.Token.Value != "" && strings.Contains(fmt.Sprintf("%+v %v", err, o), o.Token.Value) {
				t.Errorf("the token is told: %+v", err)
			}
			if n := s.Body(); n > c.body {
				t.Errorf("%d bytes were sent, want at most %d", n, c.body)
			}
			for _, p := range s.Packages() {
				if p.Status == "default" || len(p.Files) > 0 {
					t.Errorf("there is %s %q", p.Status, namesOf(p))
				}
			}
		})
	}
}

// A server that is away, that is no TLS server, or that nobody here trusts.
func TestUnreachable(t *testing.T) {
	s := gitlabtest.Start(t, true)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	plain := gitlabtest.Start(t, false)
	for _, c := range []struct{ api, says, hint string }{
		{s.API(), "certificate", "to the site's CAs"},
		{gone.URL + "/api/v4", "connection refused (after 3 attempts)", "nothing listens at"},
		{strings.Replace(plain.API(), "http:", "https:", 1), "HTTP response to HTTPS client", "name it with http://"},
		{"ftp://gitlab.example.org", "is not an http or https URL", "CI_API_V4_URL"},
		{"https://me:" + "secret" + "@gitlab.example.org/api/v4", "has a user in it", "in a variable"},
	} {
		o := options(s)
		o.API = c.api
		_, err := Publish(t.Context(), []File{{Name: "i.sif", Data: []byte("x")}}, o)
		stage := "connect"
		if strings.Contains(c.api, "example.org") {
			stage = "options"
		}
		failed(t, err, stage, c.says, c.hint)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

// Faults that pass: the file is there once, whole, and visible.
func TestPassingFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault gitlabtest.Fault
		warns string
		body  int64 // at most, beside SHA256SUMS
	}{
		{"cut once at 90 %", gitlabtest.Fault{Method: "PUT", Path: ".sif", Times: 1, Cut: true, CutAfter: size * 9 / 10}, "trying again", 2 * size},
		{"stored, and no answer", gitlabtest.Fault{Method: "PUT", Path: ".sif", Times: 1, Mute: true}, "trying again", size},
		{"the list stored, and no answer", gitlabtest.Fault{Method: "PUT", Path: Sums, Times: 1, Mute: true}, "trying again", size},
		{"damaged once", gitlabtest.Fault{Method: "PUT", Path: ".sif", Times: 1, Corrupt: true}, "read back", 2 * size},
		{"500 twice", gitlabtest.Fault{Method: "PUT", Path: ".sif", Times: 2, Status: 500}, "500 Internal Server Error", size},
		{"429 once", gitlabtest.Fault{Method: "PUT", Path: ".sif", Times: 1, Status: 429}, "429 Too Many Requests", size},
		{"a proxy that knows no Expect", gitlabtest.Fault{Method: "PUT", Expect: true, Status: 417, Body: "<html>"}, "417 Expectation Failed", size},
		{"lists fail once", gitlabtest.Fault{Method: "GET", Path: "package_files", Times: 1, Status: 503}, "listing files", size},
		{"slow", gitlabtest.Fault{Method: "PUT", Path: ".sif", Slow: time.Millisecond}, "", size},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := gitlabtest.Start(t, false)
			s.Fail(c.fault)
			var ev events
			o := options(s)
			o.Events = ev.sink
			path := image(t, "i.sif", size)
			r, err := Publish(t.Context(), []File{{Name: "i.sif", Path: path}}, o)
			if err != nil {
				t.Fatal(err)
			}
			p := one(t, s)
			if p.Status != "default" || namesOf(p) != "i.sif "+Sums || newest(t, p, "i.sif").SHA256 != sumOf(t, path) {
				t.Errorf("there is %s: %s", p.Status, namesOf(p))
			}
			if w := ev.text(pipelines.EventWarning); !strings.Contains(w, c.warns) {
				t.Errorf("warned %q, want %q", w, c.warns)
			}
			if n := s.Body(); n > c.body+200 || r.Files[0].SHA256 != sumOf(t, path) {
				t.Errorf("%d bytes were sent, want at most %d; %+v", n, c.body, r)
			}
		})
	}
}

// A run that ends in the middle leaves a hidden version, and the next goes on.
func TestResume(t *testing.T) {
	s := gitlabtest.Start(t, false)
	o := options(s)
	files := []File{{Name: "a.sif", Path: image(t, "a", size)}, {Name: "b.sif", Path: image(t, "b", 1000)}}
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail(gitlabtest.Fault{Method: "PUT", Path: "b.sif", Hang: true, Times: 1, Do: cancel})
	_, err := Publish(ctx, files, o)
	failed(t, err, "upload", "(1 of 3 files were sent; the version is still hidden)", "")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not a cancellation", err)
	}
	if p := one(t, s); p.Status != "hidden" || namesOf(p) != "a.sif" {
		t.Errorf("there is %s: %s", p.Status, namesOf(p))
	}
	s.Forget()
	if _, err := Publish(t.Context(), files, o); err != nil {
		t.Fatal(err)
	}
	if p := one(t, s); p.Status != "default" || namesOf(p) != "a.sif b.sif "+Sums || s.Body() > 1200 {
		t.Errorf("there is %s: %s, after %d bytes", p.Status, namesOf(p), s.Body())
	}
}

// Another job creates and finishes the version while the first file is on its way;
// this one then breaks off. The version stays visible.
func TestOtherJobFinishesFirst(t *testing.T) {
	s := gitlabtest.Start(t, false)
	theirs := image(t, "theirs", 2000)
	sums := sumOf(t, theirs) + "  c.sif\n"
	s.Fail(gitlabtest.Fault{Method: "PUT", Path: "a.sif", Times: 1, Do: func() {
		s.Add(gitlabtest.Package{Name: "debian12", Version: "1.2.0", Files: []gitlabtest.File{{Name: "c.sif", Data: read(t, theirs)}, {Name: Sums, Data: []byte(sums)}}})
	}})
	s.Fail(gitlabtest.Fault{Method: "PUT", Path: "b.sif", Times: 3, Status: 500})
	files := []File{{Name: "a.sif", Path: image(t, "a", 3000)}, {Name: "b.sif", Path: image(t, "b", 3000)}}
	_, err := Publish(t.Context(), files, options(s))
	failed(t, err, "upload", "500 Internal Server Error: ordered by the test (after 3 attempts) (1 of 3 files were sent)", "a problem of its own")
	if p := one(t, s); p.Status != "default" || string(newest(t, p, Sums).Data) != sums {
		t.Errorf("there is %s: %s", p.Status, namesOf(p))
	}
	if _, err := Publish(t.Context(), files, options(s)); err != nil {
		t.Fatal(err)
	}
	if p := one(t, s); p.Status != "default" || strings.Count(string(newest(t, p, Sums).Data), "\n") != 3 || namesOf(p) != "c.sif a.sif b.sif "+Sums {
		t.Errorf("there is %s: %s", p.Status, namesOf(p))
	}
}

// A version that is complete and hidden is made visible, with duplicates off too.
func TestReveal(t *testing.T) {
	for _, off := range []bool{false, true} {
		s := gitlabtest.Start(t, false)
		path := image(t, "a", 3000)
		s.Add(gitlabtest.Package{Name: "debian12", Version: "1.2.0", Status: "hidden", Files: []gitlabtest.File{
			{Name: "a.sif", Data: read(t, path)}, {Name: Sums, Data: []byte(sumOf(t, path) + "  a.sif\n")}}})
		s.Set(func(v *gitlabtest.Settings) { v.NoDuplicates = off })
		if _, err := Publish(t.Context(), []File{{Name: "a.sif", Path: path}}, options(s)); err != nil {
			t.Fatal(err)
		}
		if p := one(t, s); p.Status != "default" || namesOf(p) != "a.sif "+Sums {
			t.Errorf("there is %s: %s", p.Status, namesOf(p))
		}
	}
}

// A refusal costs no byte and no memory: the file is neither sent nor read in.
func TestRefusalIsCheap(t *testing.T) {
	s := gitlabtest.Start(t, false)
	s.Set(func(v *gitlabtest.Settings) { v.PushProtected = "debian12" })
	path := filepath.Join(t.TempDir(), "large.sif")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4<<30); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Publish(t.Context(), []File{{Name: "large.sif", Path: path}}, options(s))
	runtime.ReadMemStats(&after)
	failed(t, err, "upload", "Package protected", "protection rule")
	if s.Body() != 0 || after.TotalAlloc-before.TotalAlloc > 64<<20 {
		t.Errorf("%d bytes were sent, %d allocated", s.Body(), after.TotalAlloc-before.TotalAlloc)
	}
}

// A file passes through; it is never in memory as a whole.
func TestStreams(t *testing.T) {
	s := gitlabtest.Start(t, false)
	s.Set(func(v *gitlabtest.Settings) { v.Discard = true })
	path := filepath.Join(t.TempDir(), "large.sif")
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	const large = 192 << 20
	if err := os.Truncate(path, large); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Publish(t.Context(), []File{{Name: "large.sif", Path: path}}, options(s))
	runtime.ReadMemStats(&after)
	if err != nil || r.Sent < large || s.Body() != r.Sent {
		t.Fatalf("%d bytes were sent, %d arrived: %v", r.Sent, s.Body(), err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
		t.Errorf("%d bytes were allocated for a file of %d", n, large)
	}
}

// A file that is written to while it is sent is not published.
func TestFileChanges(t *testing.T) {
	for _, c := range []struct {
		name, says string
		change     func(path string) error
	}{
		{"shorter", "became shorter while it was sent", func(p string) error { return os.Truncate(p, 10) }},
		{"longer", "changed while it was sent", func(p string) error { return os.Truncate(p, 4<<20) }},
	} {
		s := gitlabtest.Start(t, false)
		path := image(t, "i.sif", 2<<20)
		s.Fail(gitlabtest.Fault{Method: "PUT", Do: func() {
			if err := c.change(path); err != nil {
				t.Error(err)
			}
		}})
		_, err := Publish(t.Context(), []File{{Name: "i.sif", Path: path}}, options(s))
		failed(t, err, "upload", c.says, "")
		for _, p := range s.Packages() {
			if p.Status == "default" || len(p.Files) > 0 {
				t.Errorf("%s: there is %s %q", c.name, p.Status, namesOf(p))
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ pkg, version, file, says string }{
		{"debian12", "1.2.0-rc1+b2", "debian12-1.2.0-amd64.sif", ""},
		{"", "1", "f", "is empty"},
		{"a b", "1", "f", "a character that GitLab refuses"},
		{"é", "1", "f", "a character that GitLab refuses"},
		{strings.Repeat("a", 256), "1", "f", "has 256 bytes"},
		{"a", "1/2", "f", "has a slash"},
		{"a", "v 1", "f", "a character that GitLab refuses"},
		{"a", "1", "~f", "a tilde"},
		{"a", "1", "f@2", "a character that GitLab refuses"},
		{"a", "1", Sums, "the list of checksums"},
		{"a", "1", "same", "is given twice"},
	} {
		err := Check(Options{API: "https://gitlab.example.org/api/v4", Project: "g/p", Package: c.pkg, Version: c.version}, "same", c.file)
		if c.says == "" {
			if err != nil {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		failed(t, err, "name", c.says, "GitLab takes")
	}
}

// The double refuses what Check refuses.
func TestDoubleRefusesNames(t *testing.T) {
	s := gitlabtest.Start(t, false)
	o := options(s)
	for _, path := range []string{"a%2Fb/1/f", "a/1%2F2/f", "a/1/~f", "a%20b/1/f", "a/1..2/f", "a/1/f%402"} {
		req, _ := http.NewRequest("PUT", s.API()+"/projects/7/packages/generic/"+path, strings.NewReader("x"))
		req.Header.Set(JobToken, o.Token.Value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(string(b), "is invalid") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, b)
		}
	}
}
