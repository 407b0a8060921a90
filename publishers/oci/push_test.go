package oci

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/manifest"
)

// get reads a manifest with plain HTTP, apart from the code under test.
func get(t testing.TB, r *registrytest.Registry, repo, ref string) (mediaType string, raw []byte) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", r.URL()+"/v2/"+repo+"/manifests/"+ref, nil)
	for _, m := range []string{manifest.DockerV2ListMediaType, manifest.DockerV2Schema2MediaType, v1.MediaTypeImageIndex, v1.MediaTypeImageManifest} {
		req.Header.Add("Accept", m)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err = io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		return "", nil
	}
	return res.Header.Get("Content-Type"), raw
}

func TestPushV2S2(t *testing.T) {
	r := registrytest.Start(t)
	p := New(fast(plain(r)))
	layout := makeBundle(t, "gzip", 200_000, "linux/amd64", "linux/arm64", "linux/arm/v7")
	var ev eventLog
	receipt, err := p.Push(t.Context(), layout, "base", r.Host()+"/group/base", []string{"1.0", "latest"}, "", ev.sink)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"1.0", "latest"} {
		mediaType, raw := get(t, r, "group/base", tag)
		if mediaType != manifest.DockerV2ListMediaType || digest.FromBytes(raw).String() != receipt.Digest {
			t.Fatalf("tag %s: %s %s, receipt %+v", tag, mediaType, digest.FromBytes(raw), receipt)
		}
	}
	_, raw := get(t, r, "group/base", receipt.Digest)
	var list manifest.Schema2List
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, d := range list.Manifests {
		platforms = append(platforms, d.Platform.OS+"/"+d.Platform.Architecture+"/"+d.Platform.Variant)
		mediaType, child := get(t, r, "group/base", d.Digest.String())
		if mediaType != manifest.DockerV2Schema2MediaType || d.MediaType != mediaType {
			t.Errorf("child has media type %q, the list says %q", mediaType, d.MediaType)
		}
		if strings.Contains(string(child), "annotations") {
			t.Error("a schema 2 manifest has annotations")
		}
		var m manifest.Schema2
		json.Unmarshal(child, &m)
		if m.ConfigDescriptor.MediaType != manifest.DockerV2Schema2ConfigMediaType || len(m.LayersDescriptors) != 2 ||
			m.LayersDescriptors[0].MediaType != manifest.DockerV2Schema2LayerMediaType {
			t.Errorf("child: %s", child)
		}
	}
	if want := []string{"linux/amd64/", "linux/arm/v7", "linux/arm64/v8"}; !slices.Equal(platforms, want) {
		t.Errorf("platforms %v, want %v", platforms, want)
	}
	// Gzip layers keep their digests: 1 common, 3 own, 3 configurations were sent, once each.
	if n := r.Count("PUT", "/blobs/uploads/", ""); n != 7 {
		t.Errorf("%d blobs were sent, want 7", n)
	}
	if receipt.Pushed < 600_000 || receipt.Ref != r.Host()+"/group/base" || len(receipt.Platforms) != 3 {
		t.Errorf("receipt %+v", receipt)
	}
	if e, ok := ev.last(pipelines.EventProgress); !ok || e.Current != e.Total || e.Total < 600_000 || e.Unit != "B" || e.Step != "push" {
		t.Errorf("last progress %+v", e)
	}
	t.Run("order", func(t *testing.T) {
		var puts []string
		for _, q := range r.Requests() {
			if q.Method == "PUT" && strings.Contains(q.Path, "/manifests/") {
				puts = append(puts, q.Path[strings.LastIndex(q.Path, "/")+1:])
			}
		}
		want := []string{}
		for _, d := range list.Manifests {
			want = append(want, d.Digest.String())
		}
		want = append(want, receipt.Digest, "1.0", "latest")
		if !slices.Equal(puts, want) {
			t.Errorf("manifests were put in the order %v, want %v", puts, want)
		}
	})
	t.Run("again", func(t *testing.T) {
		r.Forget()
		again, err := New(fast(plain(r))).Push(t.Context(), layout, "base", r.Host()+"/group/base", []string{"1.0", "latest"}, V2S2, nil)
		if err != nil {
			t.Fatal(err)
		}
		if again.Pushed != 0 || again.Digest != receipt.Digest {
			t.Errorf("the second push: %+v", again)
		}
		if n := r.Count("PUT POST PATCH", "", ""); n != 0 {
			t.Errorf("the second push wrote %d times", n)
		}
	})
	t.Run("mount", func(t *testing.T) {
		r.Forget()
		o := fast(plain(r))
		o.MountFrom = []string{r.Host() + "/nothing/here", r.Host() + "/group/base"}
		other, err := New(o).Push(t.Context(), layout, "base", r.Host()+"/group/copy", []string{"x"}, V2S2, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := r.Count("POST", "/group/copy/", "mount="); n != 7 {
			t.Errorf("%d mounts, want 7", n)
		}
		if n := r.Count("PATCH", "", ""); n != 0 {
			t.Errorf("%d blobs were sent that could be mounted", n)
		}
		if other.Digest != receipt.Digest || other.Pushed >= 10_000 {
			t.Errorf("receipt %+v", other)
		}
	})
	t.Run("mount what this publisher pushed", func(t *testing.T) {
		r.Forget()
		if _, err := p.Push(t.Context(), layout, "base", r.Host()+"/group/third", nil, V2S2, nil); err != nil {
			t.Fatal(err)
		}
		if n := r.Count("PATCH", "", ""); n != 0 {
			t.Errorf("%d blobs were sent that could be mounted", n)
		}
	})
}

func TestPushOCIKeepsDigests(t *testing.T) {
	r := registrytest.Start(t)
	for _, kind := range []string{"gzip", "zstd", "tar"} {
		part := makePart(t, "base", "linux/arm64", kind, 1000)
		dir := t.TempDir() + "/base"
		p := New(fast(plain(r)))
		index, _, err := p.Bundle(t.Context(), []pipelines.Artifact{part}, dir)
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := p.Push(t.Context(), dir, "base", r.Host()+"/"+kind, []string{"t"}, OCI, nil)
		if err != nil {
			t.Fatal(err)
		}
		if receipt.Digest != index || receipt.MediaType != v1.MediaTypeImageIndex {
			t.Errorf("%s: pushed %+v, the bundle's index is %s", kind, receipt, index)
		}
		if mediaType, _ := get(t, r, kind, part.Digest); mediaType != v1.MediaTypeImageManifest {
			t.Errorf("%s: the builder's manifest is %q in the registry", kind, mediaType)
		}
	}
}

func TestPushRecompresses(t *testing.T) {
	r := registrytest.Start(t)
	p := New(fast(plain(r)))
	want, err := p.Push(t.Context(), makeBundle(t, "gzip", 5000, "linux/s390x"), "base", r.Host()+"/gzip", nil, V2S2, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The same content in another compression ends as the same gzip layers, and
	// so as the same list.
	for _, kind := range []string{"zstd", "tar"} {
		o := fast(plain(r))
		o.TempDir = t.TempDir()
		got, err := New(o).Push(t.Context(), makeBundle(t, kind, 5000, "linux/s390x"), "base", r.Host()+"/"+kind, nil, V2S2, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest != want.Digest {
			t.Errorf("%s: %s, want %s", kind, got.Digest, want.Digest)
		}
		if left, _ := os.ReadDir(o.TempDir); len(left) != 0 {
			t.Errorf("%s: left %v behind", kind, left)
		}
	}
}

// publishError asserts the type and gives it.
func publishError(t testing.TB, err error) *publishers.PublishError {
	t.Helper()
	var pe *publishers.PublishError
	if !errors.As(err, &pe) || !errors.Is(err, publishers.ErrPublish) {
		t.Fatalf("error %v (%T) is no PublishError", err, err)
	}
	return pe
}

func TestPushPassingFaults(t *testing.T) {
	layout := makeBundle(t, "gzip", 300_000, "linux/amd64", "linux/arm64")
	for name, f := range map[string]registrytest.Fault{
		"throttled when asked":         {Method: "HEAD", Status: 429, RetryAfter: "0", Times: 3},
		"throttled at upload":          {Method: "PATCH", Status: 429, RetryAfter: "0", Times: 3},
		"throttled at manifest":        {Method: "PUT", Path: "/manifests/", Status: 429, Times: 3},
		"500 at upload":                {Method: "PATCH", Status: 500, Times: 2},
		"502 of a proxy":               {Method: "POST", Status: 502, Body: "<html>bad gateway</html>", Times: 2},
		"503 first contact":            {Path: "/v2/", Status: 503, Times: 2},
		"cut at first contact":         {Path: "/v2/", Cut: true, Times: 2},
		"reset midway":                 {Method: "PATCH", Cut: true, CutAfter: 100_000, Times: 3},
		"upload lost":                  {Method: "PUT", Path: "/blobs/uploads/", Status: 404, Body: `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}`, Times: 2},
		"cut at manifest":              {Method: "PUT", Path: "/manifests/", Cut: true, Times: 2},
		"cut at read back":             {Method: "GET", Path: "/manifests/", Cut: true, Skip: 1, Times: 2},
		"manifest readable only later": {Method: "GET", Path: "/manifests/sha256:", Status: 404, Skip: 1, Times: 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.Start(t)
			r.Fail(f)
			var ev eventLog
			receipt, err := New(fast(plain(r))).Push(t.Context(), layout, "base", r.Host()+"/base", []string{"t"}, V2S2, ev.sink)
			if err != nil {
				t.Fatal(err)
			}
			if _, raw := get(t, r, "base", "t"); digest.FromBytes(raw).String() != receipt.Digest {
				t.Error("the tag is not what the receipt says")
			}
			if e, ok := ev.last(pipelines.EventProgress); !ok || e.Current != e.Total {
				t.Errorf("last progress %+v", e)
			}
		})
	}
}

func TestPushRetryAfterIsHonoured(t *testing.T) {
	r := registrytest.Start(t)
	var times []time.Time
	r.Fail(registrytest.Fault{Method: "HEAD", Status: 429, RetryAfter: "1", Times: 1, Do: func() { times = append(times, time.Now()) }})
	r.Fail(registrytest.Fault{Method: "HEAD", Times: 1, Do: func() { times = append(times, time.Now()) }})
	if _, err := New(fast(plain(r))).Push(t.Context(), makeBundle(t, "gzip", 10, "linux/amd64"), "base", r.Host()+"/base", nil, V2S2, nil); err != nil {
		t.Fatal(err)
	}
	if len(times) != 2 || times[1].Sub(times[0]) < time.Second {
		t.Errorf("asked again after %v, the registry wanted one second", times)
	}
}

func TestPushLastingFaults(t *testing.T) {
	layout := makeBundle(t, "gzip", 300_000, "linux/amd64", "linux/arm64")
	for _, c := range []struct {
		name        string
		fault       registrytest.Fault
		stage       string
		text, hint  string
		wantRetries bool
	}{
		{"401", registrytest.Fault{Method: "HEAD", Status: 401}, "connect", "authentication required", "podman login", false},
		{"403", registrytest.Fault{Method: "POST", Status: 403}, "upload", "ordered by the test", "podman login", false},
		{"413", registrytest.Fault{Method: "PATCH", Status: 413, Body: "<html>too large</html>", CutAfter: 0}, "upload", "413", "client_max_body_size", false},
		{"name unknown", registrytest.Fault{Method: "POST", Status: 404}, "upload", "ordered by the test", "check that", false},
		{"throttled for good", registrytest.Fault{Method: "PATCH", Status: 429}, "upload", "", "throttles", true},
		{"500 for good", registrytest.Fault{Method: "PATCH", Status: 500}, "upload", "500", "problem of its own", true},
		{"dies half-way", registrytest.Fault{Method: "PATCH", Die: true, CutAfter: 50_000, Skip: 3}, "upload", "blobs", "", true},
		{"dies at the manifest", registrytest.Fault{Method: "PUT", Path: "/manifests/", Die: true, Skip: 1}, "manifest", "1 of 2 manifests", "", true},
		{"dies at the list", registrytest.Fault{Method: "PUT", Path: "/manifests/", Die: true, Skip: 2}, "list", "2 of 2 manifests", "", true},
		{"dies at the tag", registrytest.Fault{Method: "PUT", Path: "/manifests/t", Die: true}, "tag", "so is the list; no tag was moved", "", true},
		{"swallows manifests", registrytest.Fault{Method: "PUT", Path: "/manifests/", Drop: true}, "verify", "is not there", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := registrytest.Start(t)
			// An older image is there; its tag must stay where it is.
			old, err := New(fast(plain(r))).Push(t.Context(), makeBundle(t, "gzip", 10, "linux/amd64"), "base", r.Host()+"/base", []string{"t"}, V2S2, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Fail(c.fault)
			var ev eventLog
			o := fast(plain(r))
			o.Retries, o.Parallel = 2, 1
			_, err = New(o).Push(t.Context(), layout, "base", r.Host()+"/base", []string{"t"}, V2S2, ev.sink)
			pe := publishError(t, err)
			if pe.Stage != c.stage || !strings.Contains(err.Error(), c.text) || !strings.Contains(pe.Hint(), c.hint) {
				t.Errorf("stage %q, error %v, hint %q", pe.Stage, err, pe.Hint())
			}
			if !strings.Contains(err.Error(), r.Host()) || !strings.Contains(err.Error(), "no tag was moved") {
				t.Errorf("the error does not name the registry and what was done: %v", err)
			}
			if _, warned := ev.last(pipelines.EventWarning); warned != c.wantRetries {
				t.Errorf("a repetition was announced: %v, want %v", warned, c.wantRetries)
			}
			r.Heal()
			if _, raw := get(t, r, "base", "t"); digest.FromBytes(raw).String() != old.Digest {
				t.Error("the tag was moved")
			}
			// The registry is well again: the push goes on and ends.
			if _, err := New(fast(plain(r))).Push(t.Context(), layout, "base", r.Host()+"/base", []string{"t"}, V2S2, nil); err != nil {
				t.Errorf("after the registry came back: %v", err)
			}
		})
	}
}

func TestPushDown(t *testing.T) {
	r := registrytest.Start(t)
	host := r.Host()
	s := plain(r)
	r.Close()
	o := fast(s)
	o.Retries = 1
	_, err := New(o).Push(t.Context(), makeBundle(t, "gzip", 10, "linux/amd64"), "base", host+"/base", []string{"t"}, V2S2, nil)
	pe := publishError(t, err)
	if pe.Stage != "connect" || !strings.Contains(pe.Hint(), "nothing listens at "+host) {
		t.Errorf("stage %q, hint %q, error %v", pe.Stage, pe.Hint(), err)
	}
}

func TestPushCancel(t *testing.T) {
	r := registrytest.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.Fail(registrytest.Fault{Method: "PATCH", Delay: time.Hour, Do: cancel})
	_, err := New(fast(plain(r))).Push(ctx, makeBundle(t, "gzip", 10, "linux/amd64"), "base", r.Host()+"/base", []string{"t"}, V2S2, nil)
	if publishError(t, err); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := r.Count("PUT", "", ""); n != 0 {
		t.Errorf("%d writes after the push was cancelled", n)
	}
}

func TestPushStall(t *testing.T) {
	r := registrytest.Start(t)
	r.Fail(registrytest.Fault{Method: "PATCH", Delay: time.Hour, Times: 1})
	o := fast(plain(r))
	o.Stall = 300 * time.Millisecond
	var ev eventLog
	if _, err := New(o).Push(t.Context(), makeBundle(t, "gzip", 10, "linux/amd64"), "base", r.Host()+"/base", []string{"t"}, V2S2, ev.sink); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(ev.text(), "no progress") {
		t.Errorf("the lost connection was not announced: %s", ev.text())
	}
}

func TestPushBadInput(t *testing.T) {
	layout := makeBundle(t, "gzip", 10, "linux/amd64")
	r := registrytest.Start(t)
	for _, c := range []struct{ name, layout, repo, tag, mediaType, stage, text string }{
		{"media type", layout, r.Host() + "/x", "t", "v1", "reference", "use v2s2 or oci"},
		{"upper case", layout, r.Host() + "/X", "t", "", "reference", "lowercase"},
		{"tagged", layout, r.Host() + "/x:t", "t", "", "reference", "without tag"},
		{"tag", layout, r.Host() + "/x", "a b", "", "reference", `tag "a b"`},
		{"no layout", t.TempDir(), r.Host() + "/x", "t", "", "layout", "not an OCI image layout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(fast(plain(r))).Push(t.Context(), c.layout, "base", c.repo, []string{c.tag}, c.mediaType, nil)
			if pe := publishError(t, err); pe.Stage != c.stage || !strings.Contains(err.Error(), c.text) {
				t.Errorf("stage %q, error %v", pe.Stage, err)
			}
		})
	}
	if n := len(r.Requests()); n != 0 {
		t.Errorf("%d requests were made for bad input", n)
	}
}

func TestPushWarnsOfGitLabDepth(t *testing.T) {
	r := registrytest.Start(t)
	layout := makeBundle(t, "gzip", 10, "linux/amd64")
	for repo, want := range map[string]bool{"/g/p/a/b": false, "/g/p/a/b/c": true, "/g/px/a/b/c": false} {
		o := fast(plain(r))
		o.Project = r.Host() + "/g/p"
		var ev eventLog
		if _, err := New(o).Push(t.Context(), layout, "base", r.Host()+repo, nil, "", ev.sink); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(ev.text(), "two levels"); got != want {
			t.Errorf("%s: warned %v, want %v", repo, got, want)
		}
	}
}
