package cli

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/site"
)

// A new site file is the site it extends; what the machine has stands in comments,
// which are right once they are switched on.
func TestSiteTemplate(t *testing.T) {
	for _, extends := range []string{"public", "ornl", "nccs", "univention", "none"} {
		host := site.Site{
			Mirrors:    map[string][]site.Mirror{"debian": {{URL: "http://near.example/debian", BuildOnly: true}, {URL: "http://far.example/debian"}}},
			Indexes:    map[string][]site.Mirror{"npm": {{URL: "https://near.example/npm", BuildOnly: true}}},
			CAs:        []site.Certificate{{Name: "Evil\nca = 1", PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), BuildOnly: true}},
			Registries: []site.Registry{{Prefix: "docker.io", Mirrors: []site.RegistryMirror{{Location: "near.example:5000"}}}},
			Proxy:      site.Proxy{HTTPS: "http://bob:hunter2@proxy.example:3128"},
		}
		text := siteTemplate("cfbuild", extends, host)
		if strings.Contains(text, "hunter2") || strings.Contains(text, "bob") {
			t.Errorf("credentials in the file:\n%s", text)
		}
		load := func(text string) site.Site {
			file := filepath.Join(t.TempDir(), "site.toml")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := site.Load(file, site.LoadOptions{})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			s.Name = extends
			return s
		}
		want := site.Site{Name: "none", Mirrors: map[string][]site.Mirror{}, Indexes: map[string][]site.Mirror{}}
		if extends != "none" {
			want, _ = site.Load(extends, site.LoadOptions{})
		}
		if got := load(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: a new file means\n%+v\nwant\n%+v", extends, got, want)
		}
		on := strings.NewReplacer("#debian = [\"http", "debian = [\"http", "#npm", "npm").Replace(text)
		if got := load(on); got.URLs("debian")[0] != "http://near.example/debian" || got.IndexURLs("npm")[0] != "https://near.example/npm" || strings.Contains(on, "far.example") {
			t.Errorf("what the machine has:\n%s", on)
		}
	}
}

// A file that exists is left alone, also a dangling link; a directory that cannot
// be written to is an error that names it.
func TestWriteNew(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sub", "site.toml")
	if err := writeNew(file, []byte("a")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		if err := writeNew(path, []byte("b")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "a" {
		t.Errorf("%q, %v", data, err)
	}
	if err := writeNew(filepath.Join(file, "x", "site.toml"), nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("below a file: %v", err)
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 1 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}
