package common_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/internal/recipetest"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

var paths = common.LanguagePaths{RProfile: "/etc/R/Rprofile.site", Bundle: "/etc/ssl/certs/ca-certificates.crt"}

func TestLanguagesGolden(t *testing.T) {
	var b bytes.Buffer
	for _, f := range common.Languages(recipetest.Lab(), paths) {
		if f.Mode != 0 {
			t.Errorf("%s has mode %o: a configuration is read, not run", f.Path, f.Mode)
		}
		fmt.Fprintf(&b, "==> %s\n%s", f.Path, f.Data)
	}
	golden.Check(t, "languages.txt", b.Bytes())
}

// Where a site has nothing of its own nothing is written, unless it is asked for;
// what is used while building only is never written.
func TestLanguagesOfPlainSites(t *testing.T) {
	host := site.Public()
	for kind := range host.Indexes {
		host.Indexes[kind] = []site.Mirror{{URL: "http://build.example/" + kind, BuildOnly: true}}
	}
	all := paths
	all.All = true
	for name, s := range map[string]site.Site{"public": site.Public(), "none": {}, "host": host} {
		if got := common.Languages(s, paths); len(got) != 0 {
			t.Errorf("site %s: %d files", name, len(got))
		}
		files := common.Languages(s, all)
		if len(files) != 10 {
			t.Errorf("site %s: %d files, want 10", name, len(files))
		}
		for _, f := range files {
			if strings.Contains(string(f.Data), "build.example") {
				t.Errorf("site %s: %s names a mirror that is for building only", name, f.Path)
			}
		}
	}
	own := site.Public()
	own.Indexes["pypi"] = []site.Mirror{{URL: "https://near.example/simple/"}}
	if got := common.Languages(own, paths); len(got) != 2 || got[0].Path != "/etc/pip.conf" {
		t.Errorf("a site with its own pypi gets %d files", len(got))
	}
}

// conda is in no registry that the tests reach: its file is read as YAML, and its
// keys are those of its documentation.
func TestCondarc(t *testing.T) {
	var got struct {
		ChannelAlias     string              `yaml:"channel_alias"`
		Channels         []string            `yaml:"channels"`
		DefaultChannels  []string            `yaml:"default_channels"`
		MirroredChannels map[string][]string `yaml:"mirrored_channels"`
		ConnectTimeout   float64             `yaml:"remote_connect_timeout_secs"`
		MaxRetries       int                 `yaml:"remote_max_retries"`
		SSLVerify        string              `yaml:"ssl_verify"`
	}
	strict := yaml.NewDecoder(bytes.NewReader(file(t, recipetest.Lab(), "/etc/conda/.condarc")))
	strict.KnownFields(true)
	if err := strict.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.ChannelAlias != "https://near.example/conda" || fmt.Sprint(got.Channels) != "[conda-forge]" || got.SSLVerify != paths.Bundle ||
		fmt.Sprint(got.MirroredChannels["conda-forge"]) != "[https://near.example/conda/conda-forge https://far.example/conda/conda-forge]" {
		t.Errorf("%+v", got)
	}
}

// file is the content of one of the files.
func file(t *testing.T, s site.Site, path string) []byte {
	t.Helper()
	for _, f := range common.Languages(s, paths) {
		if f.Path == path {
			return f.Data
		}
	}
	t.Fatalf("no file %s", path)
	return nil
}

// laid writes one of the files below a directory and gives its path.
func laid(t *testing.T, dir string, s site.Site, path string) string {
	t.Helper()
	to := filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(to, file(t, s, path), 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}
