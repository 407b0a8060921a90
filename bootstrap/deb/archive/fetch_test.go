package archive_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/bootstrap/deb/archive"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
	"github.com/cfbuild/cfbuild/pipelines"
)

// broken ways to answer for a package, given the right data.
var broken = []struct {
	name   string
	answer func(data []byte) http.HandlerFunc
	want   error
	words  string
}{
	{"not found", func([]byte) http.HandlerFunc { return status(404) }, nil, "404"},
	{"overloaded", func([]byte) http.HandlerFunc { return status(503) }, nil, "503"},
	{"throttled", func([]byte) http.HandlerFunc { return status(429) }, nil, "429"},
	{"hangs", func([]byte) http.HandlerFunc { return hang }, nil, "stalled"},
	{"HTML", func([]byte) http.HandlerFunc { return body("<html>no</html>") }, archive.ErrMismatch, "bytes"},
	{"empty", func([]byte) http.HandlerFunc { return body("") }, archive.ErrMismatch, "0 bytes"},
	{"changed", func(data []byte) http.HandlerFunc {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
		return body(string(data))
	}, archive.ErrMismatch, "SHA-256"},
	{"truncated", func(data []byte) http.HandlerFunc { return body(string(data[:len(data)/2])) }, nil, "bytes"},
	{"longer", func(data []byte) http.HandlerFunc { return body(string(data) + "x") }, archive.ErrMismatch, "more than"},
	{"resets in the middle", reset, nil, "ended after"},
	{"hangs in the middle", func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:len(data)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}, nil, "stalled"},
}

// reset sends half and breaks the connection.
func reset(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:len(data)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestBadPackageCostsTimeOnly(t *testing.T) {
	beta := packages("1")[1]
	for _, tt := range broken {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := archivetest.Serve(t, w.dir)
			m.Fault(only(beta.File(), tt.answer(beta.Data)))
			_, pkgs, err := w.load(m.URL, w.good.URL)
			if err != nil {
				t.Fatal(err)
			}
			got, err := w.fetch(pkgs)
			if err != nil {
				t.Fatalf("with a good second mirror: %v", err)
			}
			w.whole(got, "1")
			if asked := w.good.Asked(); !slices.Contains(asked, beta.File()) {
				t.Errorf("the second mirror was asked for %v", asked)
			}

			w.c.CacheDir = t.TempDir()
			if _, pkgs, err = w.load(m.URL); err != nil {
				t.Fatal(err)
			}
			_, err = w.fetch(pkgs)
			var me *archive.MirrorsError
			if !errors.As(err, &me) || !strings.Contains(err.Error(), "beta=1") || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("alone: %v", err)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%v is not %v", err, tt.want)
			}
			// Nothing that is wrong gets its final name.
			blobs, _ := filepath.Glob(filepath.Join(w.c.CacheDir, "blobs", "sha256", "*"))
			for _, b := range blobs {
				data, _ := os.ReadFile(b)
				if name := filepath.Base(b); len(name) == 64 && name != fmt.Sprintf("%x", sha256.Sum256(data)) {
					t.Errorf("%s holds something else", name)
				}
			}
		})
	}
}

func TestResumesWhereTheOtherMirrorBroke(t *testing.T) {
	w := newWorld(t)
	beta := packages("1")[1]
	m := archivetest.Serve(t, w.dir)
	m.Fault(only(beta.File(), reset(beta.Data)))
	var ranges []string
	w.good.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, beta.File()) {
			ranges = append(ranges, r.Header.Get("Range"))
		}
		return false
	})
	_, pkgs, err := w.load(m.URL, w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.fetch(pkgs)
	if err != nil {
		t.Fatal(err)
	}
	w.whole(got, "1")
	if want := fmt.Sprintf("bytes=%d-", len(beta.Data)/2); !slices.Equal(ranges, []string{want}) {
		t.Errorf("the second mirror was asked for %q, want %q", ranges, want)
	}
}

func TestIndexMismatch(t *testing.T) {
	for _, byHash := range []bool{true, false} {
		w := newWorld(t)
		s := w.suite()
		s.ByHash = byHash
		s.Write(t, w.dir)
		m := archivetest.Serve(t, w.dir)
		m.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "binary-") {
				rw.Write([]byte("something else"))
				return true
			}
			return false
		})
		if _, pkgs, err := w.load(m.URL, w.good.URL); err != nil || len(pkgs) != 3 {
			t.Errorf("by hash %v: %d packages, %v", byHash, len(pkgs), err)
		}
		w.c.CacheDir = t.TempDir()
		if _, _, err := w.load(m.URL); !errors.Is(err, archive.ErrMismatch) {
			t.Errorf("by hash %v, alone: %v", byHash, err)
		}
	}
}

// TestOlderRelease: the freshest mirror does not have its indexes yet, and the
// other has an older state that is whole.
func TestOlderRelease(t *testing.T) {
	w := newWorld(t)
	newer := w.suite()
	newer.Date, newer.Packages = now.Add(-time.Minute), packages("2")
	dir := t.TempDir()
	newer.Write(t, dir)
	m := archivetest.Serve(t, dir)
	m.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "binary-") {
			rw.WriteHeader(404)
			return true
		}
		return false
	})
	s, pkgs, err := w.load(m.URL, w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	if s.Mirrors[0] != w.good.URL || sortedNames(pkgs)[0] != "alpha=1" {
		t.Errorf("mirrors %v, packages %v", s.Mirrors, sortedNames(pkgs))
	}
	if said := w.heard(); !strings.Contains(said, "is tried") {
		t.Errorf("said %q", said)
	}
	got, err := w.fetch(pkgs)
	if err != nil {
		t.Fatal(err)
	}
	w.whole(got, "1")
}

func TestDamagedCache(t *testing.T) {
	w := newWorld(t)
	_, pkgs, err := w.load(w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.fetch(pkgs); err != nil {
		t.Fatal(err)
	}
	blobs, _ := filepath.Glob(filepath.Join(w.c.CacheDir, "blobs", "sha256", "*"))
	if len(blobs) != 4 {
		t.Fatalf("blobs %v", blobs)
	}
	for i, b := range blobs {
		switch i % 2 {
		case 0:
			err = os.Truncate(b, 10)
		case 1:
			err = os.WriteFile(b, bytes.Repeat([]byte("x"), 60_000), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dists, _ := filepath.Glob(filepath.Join(w.c.CacheDir, "dists", "*"))
	for _, d := range dists {
		if err := os.Truncate(d, 200); err != nil {
			t.Fatal(err)
		}
	}
	if _, pkgs, err = w.load(w.good.URL); err != nil {
		t.Fatal(err)
	}
	got, err := w.fetch(pkgs)
	if err != nil {
		t.Fatal(err)
	}
	w.whole(got, "1")
}

func TestLeftOverParts(t *testing.T) {
	beta := packages("1")[1]
	for name, tt := range map[string]struct {
		part  []byte
		asked string // Range of the request for it
		times int
	}{
		"beginning": {beta.Data[:1000], "bytes=1000-", 1},
		"garbage":   {[]byte("garbage"), "bytes=7-", 2},
		"whole":     {beta.Data, "", 0},
		"too long":  {append(bytes.Clone(beta.Data), 'x'), "", 1},
		"wrong":     {bytes.Repeat([]byte("y"), len(beta.Data)), "", 1},
	} {
		w := newWorld(t)
		_, pkgs, err := w.load(w.good.URL)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(pkgs, func(p *archive.Package) bool { return p.Name == "beta" })
		part := filepath.Join(w.c.CacheDir, "blobs", "sha256", pkgs[i].SHA256+".part")
		if err := os.WriteFile(part, tt.part, 0o644); err != nil {
			t.Fatal(err)
		}
		var ranges []string
		w.good.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, beta.File()) {
				ranges = append(ranges, r.Header.Get("Range"))
			}
			return false
		})
		got, err := w.fetch(pkgs[i : i+1])
		if err != nil || got["beta"] != string(beta.Data) {
			t.Errorf("%s: %d bytes, %v", name, len(got["beta"]), err)
		}
		if len(ranges) != tt.times || tt.times > 0 && ranges[0] != tt.asked {
			t.Errorf("%s: asked with ranges %q", name, ranges)
		}
		if left := w.parts(); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func TestSharedCache(t *testing.T) {
	w := newWorld(t)
	_, pkgs, err := w.load(w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.good.Asked()
	// Slow enough that all are there before the first is done.
	w.good.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
		time.Sleep(50 * time.Millisecond)
		return false
	})
	var wg sync.WaitGroup
	for range 6 {
		c := w.client(w.c.CacheDir)
		wg.Go(func() {
			err := c.Fetch(t.Context(), pkgs, nil, func(p *archive.Package, path string) error {
				data, err := os.ReadFile(path)
				if err == nil && int64(len(data)) != p.Size {
					err = fmt.Errorf("%s has %d bytes", p, len(data))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if asked := w.good.Asked(); len(asked) != 3 {
		t.Errorf("asked for %v", asked)
	}
	if left := w.parts(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestFetchStops(t *testing.T) {
	w := newWorld(t)
	_, pkgs, err := w.load(w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk of the consumer is full")
	err = w.c.Fetch(t.Context(), pkgs, nil, func(*archive.Package, string) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.c.CacheDir = t.TempDir()
	w.good.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
		cancel()
		hang(rw, r)
		return true
	})
	if err := w.c.Fetch(ctx, pkgs, nil, func(*archive.Package, string) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := w.c.Fetch(t.Context(), nil, nil, nil); err != nil {
		t.Errorf("nothing to fetch: %v", err)
	}
}

func TestDeadMirrorIsAskedLast(t *testing.T) {
	w := newWorld(t)
	s := w.suite()
	for i := range 40 {
		s.Packages = append(s.Packages, archivetest.Package{Name: fmt.Sprintf("p%d", i), Version: "1", Data: fmt.Appendf(nil, "data %d", i)})
	}
	s.Write(t, w.dir)
	m := archivetest.Serve(t, w.dir)
	_, pkgs, err := w.load(m.URL, w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	m.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		rw.WriteHeader(500)
		return true
	})
	w.c.Jobs = 1
	if _, err := w.fetch(pkgs); err != nil {
		t.Fatal(err)
	}
	// Two attempts for each of the first packages, none for the rest.
	if n := asked.Load(); n != 6 {
		t.Errorf("the dead mirror was asked %d times", n)
	}
}

func TestProgress(t *testing.T) {
	w := newWorld(t)
	_, pkgs, err := w.load(w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	var want int64
	for _, p := range pkgs {
		want += p.Size
	}
	for range 2 { // fetched, then from the cache
		var mu sync.Mutex
		var most pipelines.Event
		err = w.c.Fetch(t.Context(), pkgs, func(e pipelines.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Current > most.Current {
				most = e
			}
		}, func(*archive.Package, string) error { return nil })
		if err != nil || most.Current != want || most.Total != want || most.Unit != "B" || most.Kind != pipelines.EventProgress {
			t.Errorf("%+v of %d, %v", most, want, err)
		}
	}
}

// TestKilled ends a process with SIGKILL in the middle of its downloads.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("ARCHIVE_TEST_CACHE"); dir != "" {
		w := &world{t: t, c: nil}
		w.c = w.client(dir)
		w.keys.Keys, _ = os.ReadFile(filepath.Join(dir, "key"))
		w.keys.Replace = true
		_, pkgs, err := w.load(os.Getenv("ARCHIVE_TEST_MIRROR"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.fetch(pkgs)
		t.Fatal("lived to see ", err)
	}
	w := newWorld(t)
	if err := os.WriteFile(filepath.Join(w.c.CacheDir, "key"), w.keys.Keys, 0o644); err != nil {
		t.Fatal(err)
	}
	halves := make(chan struct{}, 3)
	w.good.Fault(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".deb") {
			return false
		}
		data, _ := os.ReadFile(filepath.Join(w.dir, r.URL.Path))
		rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
		rw.Write(data[:len(data)/2])
		rw.(http.Flusher).Flush()
		halves <- struct{}{}
		<-r.Context().Done()
		return true
	})
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "ARCHIVE_TEST_CACHE="+w.c.CacheDir, "ARCHIVE_TEST_MIRROR="+w.good.URL)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		select {
		case <-halves:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			t.Fatal("the child did not begin its downloads")
		}
	}
	// The bytes are on their way; what of them reached the disk is not fixed.
	for deadline := 200; len(w.parts()) < 3 && deadline > 0; deadline-- {
		time.Sleep(10 * time.Millisecond)
	}
	cmd.Process.Kill()
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child was not killed")
	}
	if left := w.parts(); len(left) != 3 {
		t.Fatalf("left %v", left)
	}
	w.good.Fault(nil)
	_, pkgs, err := w.load(w.good.URL)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.fetch(pkgs)
	if err != nil {
		t.Fatal(err)
	}
	w.whole(got, "1")
	if left := w.parts(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	w.c.CacheDir = file
	if _, _, err := w.load(w.good.URL); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}
