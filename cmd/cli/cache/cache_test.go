package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func write(t *testing.T, path string, size int, age time.Duration) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	old(t, path, age)
}

func old(t *testing.T, path string, age time.Duration) {
	t.Helper()
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func there(t *testing.T, dir string, want map[string]bool) {
	t.Helper()
	for name, is := range want {
		if exists(filepath.Join(dir, name)) != is {
			t.Errorf("%s: there: %v, want %v", name, !is, is)
		}
	}
}

const day = 24 * time.Hour

func TestPruneArtifacts(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"old": 40 * day, "new": day, "busy": 40 * day, "half.part": 40 * day} {
		p := filepath.Join(dir, "artifacts", name)
		write(t, filepath.Join(p, "blob"), 10_000, age)
		old(t, p, age)
	}
	lock, err := open(filepath.Join(dir, "artifacts", "busy.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := flock(lock, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	o := Options{Before: time.Now().Add(-30 * day), DryRun: true}
	dry, err := Prune(t.Context(), dir, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	there(t, dir, map[string]bool{"artifacts/old": true, "artifacts/half.part": true})
	o.DryRun = false
	wet, err := Prune(t.Context(), dir, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	if dry[0] != wet[0] || wet[0].Items != 2 || wet[0].Bytes < 20_000 {
		t.Errorf("dry run %+v, real %+v", dry[0], wet[0])
	}
	there(t, dir, map[string]bool{"artifacts/old": false, "artifacts/new": true, "artifacts/busy": true, "artifacts/half.part": false})
	if left, _ := filepath.Glob(filepath.Join(dir, "artifacts", ".trash-*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestPruneTree(t *testing.T) {
	dir := t.TempDir()
	b := filepath.Join(dir, "bootstrap")
	write(t, filepath.Join(b, "packages", "aa"), 5000, 40*day)
	write(t, filepath.Join(b, "packages", "bb"), 5000, day)
	for name, age := range map[string]time.Duration{"old": 40 * day, "new": day} {
		for _, f := range []string{"oci-layout", "index.json", "blobs/sha256/x"} {
			write(t, filepath.Join(b, "roots", name, f), 100, 40*day)
		}
		old(t, filepath.Join(b, "roots", name, "index.json"), age)
	}
	write(t, filepath.Join(b, "roots", "beside", "root.json"), 10, 40*day)
	write(t, filepath.Join(b, "roots", "beside", "layout", "oci-layout"), 10, day)
	var asked Options
	part := Part{"store", func(_ context.Context, o Options) (int64, int, error) { asked = o; return 7, 1, nil }}
	write(t, filepath.Join(dir, "tmp", "left"), 10, time.Hour)
	write(t, filepath.Join(dir, "tests", "old.json"), 10, 40*day)
	write(t, filepath.Join(dir, "tests", "new.json"), 10, day)
	o := Options{Before: time.Now().Add(-30 * day), Now: time.Now()}
	got, err := Prune(t.Context(), dir, []Part{part}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 5 || got[1].Items != 2 || got[2].Items != 1 || got[3].Items != 1 || got[4] != (Freed{Name: "store", Bytes: 7, Items: 1}) || asked != o {
		t.Errorf("%+v, asked %+v", got, asked)
	}
	there(t, b, map[string]bool{"packages/aa": false, "packages/bb": true, "roots/old": false, "roots/new/blobs/sha256/x": true, "roots/beside/root.json": true})
	there(t, dir, map[string]bool{"tests/old.json": false, "tests/new.json": true})
	part.Prune = func(context.Context, Options) (int64, int, error) { return 0, 0, ErrUntold }
	if got, err := Prune(t.Context(), dir, []Part{part}, o); err != nil || got[4].Skipped == "" {
		t.Errorf("%+v, %v", got, err)
	}
	part.Prune = func(context.Context, Options) (int64, int, error) { return 0, 0, errors.New("boom") }
	if _, err := Prune(t.Context(), dir, []Part{part}, o); err == nil || err.Error() != "store: boom" {
		t.Errorf("error %v", err)
	}
}

// While a run is on, what it may use stays, and only artifacts it has not touched
// go. A run that was killed does not count.
func TestPruneBesideARun(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "artifacts", "used")
	write(t, filepath.Join(p, "blob"), 1, 0)
	old(t, p, time.Minute) // touched by the run that began an hour ago
	write(t, filepath.Join(dir, "bootstrap", "x"), 1, 40*day)
	leave, err := Enter(t.Context(), dir, time.Now().Add(-time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := Options{Before: time.Now().Add(time.Second)}
	got, err := Prune(t.Context(), dir, nil, all)
	if err != nil || got[1].Skipped == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	there(t, dir, map[string]bool{"artifacts/used": true, "bootstrap/x": true})
	leave()
	write(t, filepath.Join(dir, "runs", "99999-killed"), 0, time.Hour)
	if _, err := Prune(t.Context(), dir, nil, all); err != nil {
		t.Fatal(err)
	}
	there(t, dir, map[string]bool{"artifacts/used": false, "bootstrap/x": false, "runs/99999-killed": false})
}

// A run that starts while a prune is on waits for it.
func TestEnterWaits(t *testing.T) {
	dir := t.TempDir()
	gate, err := open(filepath.Join(dir, "gate.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := flock(gate, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Enter(ctx, dir, time.Now(), cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Enter gives %v", err)
	}
	leave, err := Enter(t.Context(), dir, time.Now(), func() { gate.Close() })
	if err != nil {
		t.Fatal(err)
	}
	leave()
	if left, _ := os.ReadDir(filepath.Join(dir, "runs")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestSize(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), 100_000, 0)
	before, err := Size("x", dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	after, err := Size("x", dir)
	if err != nil || after.Bytes != before.Bytes || after.Files != 1 || after.Bytes < 100_000 {
		t.Errorf("%+v then %+v, %v", before, after, err)
	}
	if n := removable(filepath.Join(dir, "a")); n != 0 {
		t.Errorf("removing one of two links frees %d bytes", n)
	}
	none, err := Size("x", filepath.Join(dir, "none"))
	if err != nil || none.Bytes != 0 {
		t.Errorf("%+v, %v", none, err)
	}
}
