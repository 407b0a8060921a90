package gitlab

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/gitlabtest"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers"
)

// options for a double, with the token of a Maintainer's job.
func options(s *gitlabtest.Server) Options {
	return Options{API: s.API(), Project: strconv.Itoa(gitlabtest.ID), Package: "debian12", Version: "1.2.0",
		Token: Token{JobToken, s.Grant(JobToken, gitlabtest.Delete), "CI_JOB_TOKEN"}, Retries: 2, Backoff: time.Millisecond}
}

// image writes n bytes that repeat nothing and gives the file's path.
func image(t *testing.T, name string, n int) string {
	t.Helper()
	var b bytes.Buffer
	seed := sha256.Sum256([]byte(name))
	for b.Len() < n {
		b.Write(seed[:])
		seed = sha256.Sum256(seed[:])
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b.Bytes()[:n], 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// one is the only package of a double.
func one(t *testing.T, s *gitlabtest.Server) gitlabtest.Package {
	t.Helper()
	all := s.Packages()
	if len(all) != 1 {
		t.Fatalf("there are %d packages: %+v", len(all), all)
	}
	return all[0]
}

// names of the files of a package, in the order they came.
func namesOf(p gitlabtest.Package) string {
	var out []string
	for _, f := range p.Files {
		out = append(out, f.Name)
	}
	return strings.Join(out, " ")
}

// newest is the file that is served.
func newest(t *testing.T, p gitlabtest.Package, name string) gitlabtest.File {
	t.Helper()
	for i := len(p.Files) - 1; i >= 0; i-- {
		if p.Files[i].Name == name {
			return p.Files[i]
		}
	}
	t.Fatalf("%s is not there: %s", name, namesOf(p))
	return gitlabtest.File{}
}

// events collects what a run tells.
type events struct {
	mu  sync.Mutex
	all []pipelines.Event
}

func (e *events) sink(v pipelines.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, v)
}

// text of all events of a kind.
func (e *events) text(kind pipelines.EventKind) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, v := range e.all {
		if v.Kind == kind {
			out = append(out, v.Text)
		}
	}
	return strings.Join(out, "\n")
}

// failed takes a PublishError apart.
func failed(t *testing.T, err error, stage, says, hint string) {
	t.Helper()
	var p *publishers.PublishError
	if !errors.As(err, &p) || !errors.Is(err, publishers.ErrPublish) {
		t.Fatalf("got %v, want a PublishError", err)
	}
	if p.Stage != stage || !strings.Contains(err.Error(), says) || !strings.Contains(p.Hint(), hint) || hint != "" && p.Hint() == "" {
		t.Errorf("got stage %q, error %q, hint %q\nwant %q, …%s…, …%s…", p.Stage, err, p.Hint(), stage, says, hint)
	}
}
