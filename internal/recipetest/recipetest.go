// Package recipetest has what the tests of all recipes share: a site with
// everything that a recipe looks at, and an image as a text to compare.
package recipetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Lab is the public site with a laboratory's own mirrors, authorities and keys in
// front, and two language indexes of each kind that are not public. The certificates
// are text; that they are sound is the site's business.
func Lab() site.Site {
	pem := func(fill string) []byte {
		return []byte("-----BEGIN CERTIFICATE-----\n" + strings.Repeat(fill, 64) + "\nshort\n-----END CERTIFICATE-----\n")
	}
	s := site.Public()
	s.Name = "lab"
	for repo, list := range s.Mirrors {
		s.Mirrors[repo] = append([]site.Mirror{{URL: "https://near.example/" + repo}, {URL: "http://build.example/" + repo, BuildOnly: true}}, list...)
	}
	for kind := range s.Indexes { // none of the public ones, which are the site's to know
		path := "/" + kind
		if kind == "pypi" {
			path += "/simple"
		}
		s.Indexes[kind] = []site.Mirror{{URL: "https://near.example" + path}, {URL: "https://far.example" + path}}
	}
	s.CAs = []site.Certificate{{Name: "lab-root", PEM: pem("A")}, {Name: "other", PEM: pem("B")}, {Name: "quiet", PEM: pem("C"), BuildOnly: true}}
	s.Keyrings = map[string]site.Keyring{
		"debian":          {Keys: []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), Replace: true},
		"debian-security": {Keys: []byte("build"), BuildOnly: true},
		"centos-stream":   {Keys: []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\nlab\n")},
	}
	return s
}

// Text is a graph for reading: operations in order, files with their content.
func Text(t testing.TB, img pipelines.Image) []byte {
	t.Helper()
	g, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, n := range g.Nodes {
		switch o := n.Op.(type) {
		case pipelines.File:
			mode := o.Mode
			if mode == 0 {
				mode = 0o644
			}
			fmt.Fprintf(&b, "file %s %04o\n", o.Path, mode)
			for line := range strings.Lines(string(o.Data)) {
				b.WriteString("  | " + strings.ReplaceAll(line, "\t", "\\t"))
			}
		case pipelines.Run:
			fmt.Fprintf(&b, "run %s, network %s\n", n.Name, o.Network)
			for line := range strings.Lines(o.Shell) {
				b.WriteString("  | " + line)
			}
		default:
			j, _ := json.MarshalIndent(o, "", "  ")
			fmt.Fprintf(&b, "%s\n%s\n", n.Name, j)
		}
	}
	return b.Bytes()
}

// JSON is the machine readable form of a graph, without the lines it was written
// on.
func JSON(t testing.TB, g pipelines.Graph) []byte {
	t.Helper()
	for i := range g.Nodes {
		g.Nodes[i].Where = pipelines.Position{}
	}
	j, err := json.MarshalIndent(g, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(j, '\n')
}
