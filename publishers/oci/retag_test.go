package oci

import (
	"errors"
	"net/http"
	"testing"

	"github.com/cfbuild/cfbuild/internal/registrytest"
	"github.com/cfbuild/cfbuild/publishers"
	"github.com/opencontainers/go-digest"
)

// What a tag stands for costs one HEAD; tags are set without sending anything else.
func TestDigestAndTag(t *testing.T) {
	r := registrytest.Start(t)
	p, repo := New(fast(plain(r))), r.Host()+"/group/base"
	if d, err := p.Digest(t.Context(), repo, "1"); err != nil || d != "" {
		t.Errorf("a repository that is not there: %q, %v", d, err)
	}
	receipt, err := p.Push(t.Context(), makeBundle(t, "gzip", 1000, "linux/amd64", "linux/arm64"), "base", repo, []string{"1"}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Forget()
	if d, err := p.Digest(t.Context(), repo, "1"); err != nil || d != receipt.Digest {
		t.Errorf("%q, %v, pushed %s", d, err, receipt.Digest)
	}
	if head, all := r.Count("HEAD", "/manifests/1", ""), r.Count("GET HEAD POST PUT", "/v2/group/", ""); head != 1 || all != 1 {
		t.Errorf("%d of %d requests are HEAD: %+v", head, all, r.Requests())
	}
	if d, err := p.Digest(t.Context(), repo, "2"); err != nil || d != "" {
		t.Errorf("a tag that is not there: %q, %v", d, err)
	}
	if err := p.Tag(t.Context(), repo, receipt.Digest, []string{"2", "latest"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"2", "latest"} {
		if _, raw := get(t, r, "group/base", tag); digest.FromBytes(raw).String() != receipt.Digest {
			t.Errorf("tag %s is %s", tag, digest.FromBytes(raw))
		}
	}
	var pe *publishers.PublishError
	if err := p.Tag(t.Context(), repo, digest.FromString("gone").String(), []string{"3"}, nil); !errors.As(err, &pe) || pe.Stage != "tag" {
		t.Errorf("a manifest that is gone: %v", err)
	}
	r.Fail(registrytest.Fault{Method: "HEAD", Status: http.StatusForbidden})
	if _, err := p.Digest(t.Context(), repo, "1"); !errors.As(err, &pe) || pe.Stage != "inspect" {
		t.Errorf("refused: %v", err)
	}
	r.Heal()
	r.Fail(registrytest.Fault{Method: "PUT", Path: "/manifests/", Drop: true})
	if err := p.Tag(t.Context(), repo, receipt.Digest, []string{"4"}, nil); !errors.As(err, &pe) {
		t.Errorf("a tag that was not stored: %v", err)
	}
}

// Writable writes each time it is asked, and is refused where pushing would be.
func TestWritable(t *testing.T) {
	r := registrytest.Start(t, registrytest.Token("robot", "hush"))
	o := fast(plain(r))
	o.Credentials = map[string]publishers.Credential{r.Host(): {User: "robot", Password: "hush"}}
	for range 2 {
		r.Forget()
		if err := New(o).Writable(t.Context(), r.Host()+"/group/cache"); err != nil {
			t.Error(err)
		}
		if r.Count("PUT", "/blobs/uploads/", "") != 1 {
			t.Errorf("nothing was sent: %+v", r.Requests())
		}
	}
	var pe *publishers.PublishError
	r.Fail(registrytest.Fault{Method: "POST", Path: "/blobs/uploads/", Status: http.StatusForbidden})
	if err := New(o).Writable(t.Context(), r.Host()+"/group/cache"); !errors.As(err, &pe) || pe.Hint() == "" {
		t.Errorf("a registry that may be read only: %v", err)
	}
	o.Credentials = nil
	if err := New(o).Writable(t.Context(), r.Host()+"/group/cache"); !errors.As(err, &pe) {
		t.Errorf("without credentials: %v", err)
	}
}
