package deb

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"github.com/cfbuild/cfbuild/bootstrap/deb/unpack"
	"golang.org/x/sync/errgroup"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTmp(t *testing.T) {
	fs, _ := filepath.Glob(os.Getenv("DEBS") + "/*.deb")
	ep := time.Unix(1790000000, 0)
	u, err := unpack.New(unpack.Options{Arch: os.Getenv("DARCH"), MergedUsr: os.Getenv("MERGED") != "", Epoch: ep, SpoolDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	var g errgroup.Group
	g.SetLimit(2)
	for _, f := range fs {
		g.Go(func() error { return u.Add(context.Background(), unpack.Package{}, f) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	o, _ := os.Create(os.Getenv("OUT") + ".tar")
	w := bufio.NewWriterSize(o, 1<<20)
	s, err := u.Finish(context.Background(), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Flush()
	r := configure(s.Phases, ep, "1.21.22")
	os.WriteFile(os.Getenv("OUT")+".sh", []byte(r.Shell), 0o644)
	e := ""
	for k, v := range r.Env {
		e += k + "=" + v + "\n"
	}
	os.WriteFile(os.Getenv("OUT")+".env", []byte(e), 0o644)
	b, _ := json.Marshal(s)
	fmt.Println(string(b))
}
