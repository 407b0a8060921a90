package deb_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/cfbuild/cfbuild/bootstrap/deb"
	"github.com/cfbuild/cfbuild/bootstrap/deb/archivetest"
)

func TestDump(t *testing.T) {
	c := comparison{os.Getenv("REL"), os.Getenv("DARCH"), os.Getenv("VARIANT")}
	root, err := deb.New(deb.Options{}).Make(context.Background(), request(t, c, archivetest.Machine(t)))
	if err != nil {
		t.Fatal(err)
	}
	out := os.Getenv("OUT")
	os.Remove(out + ".tar")
	os.Symlink(layerOf(t, root), out+".tar")
	for _, s := range root.Configure {
		os.WriteFile(out+".sh", []byte(s.Shell), 0o644)
		e := ""
		for k, v := range s.Env {
			e += k + "=" + v + "\n"
		}
		os.WriteFile(out+".env", []byte(e), 0o644)
	}
	fmt.Println(root.Cached, root.Epoch.Unix(), len(root.Packages))
}
