package alpine

import (
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// repository is the name that sites list Alpine's mirrors under.
const repository = "alpine"

// Files are what an image gets besides packages and authorities:
//
//   - /etc/apk/repositories: the site's mirrors for images, the preferred first, the
//     public one last. Of one version of a package apk takes the first line that has
//     it.
//   - /etc/apk/keys/NAME: the site's own keys, under the name that its mirrors'
//     signatures have.
//   - /etc/apk/config: how apk 3 bears a mirror that is down. apk 2 does not read it.
//   - the configuration of language package managers ([common.Languages]).
func Files(o Options, s site.Site) []pipelines.File {
	out := []pipelines.File{
		{Path: "/etc/apk/repositories", Data: []byte(repositories(o, s))},
		{Path: "/etc/apk/config", Data: []byte(config)},
	}
	if k, ok := s.Keyrings[repository]; ok && !k.BuildOnly {
		out = append(out, keys(k)...)
	}
	return append(out, o.Languages.Files(s, common.LanguagePaths{RProfile: "/usr/lib/R/etc/Rprofile.site", NPMRC: "/etc/npmrc", Bundle: bundle})...)
}

// repositories has a line for each mirror and component.
func repositories(o Options, s site.Site) string {
	var b strings.Builder
	for _, url := range s.ImageURLs(repository) {
		for _, c := range o.components() {
			fmt.Fprintf(&b, "%s/%s/%s\n", strings.TrimRight(url, "/"), o.branch(), c)
		}
	}
	return b.String()
}

// config holds command line options (apk(8) of version 3, FILES). A mirror that takes
// the connection and says nothing costs timeout seconds for each index instead of 60;
// apk upgrade goes on without the indexes that cannot be had, where it otherwise
// refuses to do anything while one mirror of several is down.
const config = `# apk-tools 3: give up a silent mirror soon, and go on with the next one.
timeout 10
force-missing-repositories
`

var keyNameRE = regexp.MustCompile(`([A-Za-z0-9@._+-]+\.pub)\W*$`)

// keys gives each key a file of its own, as apk wants it. Of several keys in one text
// each is called as the line before it says ("# NAME.rsa.pub"), the first one else as
// the text's own file.
func keys(k site.Keyring) []pipelines.File {
	var out []pipelines.File
	for n, text := 0, k.Keys; ; n++ {
		at := strings.Index(string(text), "-----BEGIN")
		block, rest := pem.Decode(text)
		if block == nil || at < 0 {
			return out
		}
		name := k.Name
		if m := keyNameRE.FindStringSubmatch(string(text[:at])); m != nil {
			name = m[1]
		} else if name == "" || n > 0 {
			name = fmt.Sprintf("site-%d.rsa.pub", n+1)
		}
		out = append(out, pipelines.File{Path: "/etc/apk/keys/" + name, Data: pem.EncodeToMemory(block)})
		text = rest
	}
}
