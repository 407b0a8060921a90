package lint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/site"
)

func TestReference(t *testing.T) {
	s := site.Site{Registries: []site.Registry{{Prefix: "gold.example/base"}}}
	for ref, want := range map[string]string{
		"gold.example/base/x":                                   LatestAlone,
		"gold.example/base/x:latest":                            LatestAlone,
		"gold.example/base/x:1.2.3":                             "",
		"gold.example/base/x:v1.2":                              "",
		"gold.example/base/x:3.22-slim":                         "",
		"gold.example/base/x:stream9":                           "",
		"gold.example/base/x:20261129":                          "",
		"gold.example/base/x:2026-11-29":                        "",
		"gold.example/base/x:9f8e7d6":                           "",
		"gold.example/base/x:main-9f8e7d6c5b4a":                 "",
		"gold.example/base/x:stable":                            TagNotVersion,
		"gold.example/base/x:my-branch":                         TagNotVersion,
		"gold.example/base/x@sha256:" + strings.Repeat("a", 64): "",
		"gold.example/other:1.0.0":                              ReferenceElsewhere,
		"debian:12":                                             ReferenceElsewhere,
		"localhost:5000/x:1":                                    ReferenceElsewhere,
	} {
		got := strings.Trim(fmt.Sprint(rulesOf(Reference(ref, s))), "[]")
		if got != want {
			t.Errorf("%s: %q, want %q", ref, got, want)
		}
		if len(s.Registries) > 0 && want == ReferenceElsewhere && len(Reference(ref, site.Site{})) > 0 {
			t.Errorf("%s: a site without registries has an opinion", ref)
		}
	}
}
