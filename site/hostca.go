package site

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mozilla is where Debian's ca-certificates keeps the public roots, one a file.
const mozilla = "/usr/share/ca-certificates/mozilla"

// localAnchors are the directories where administrators add authorities: Debian
// and Alpine, Red Hat (two), SUSE (two), Arch.
func localAnchors() []string {
	return []string{
		"/usr/local/share/ca-certificates",
		"/etc/pki/ca-trust/source/anchors", "/usr/share/pki/ca-trust-source/anchors",
		"/etc/pki/trust/anchors", "/usr/share/pki/trust/anchors",
		"/etc/ca-certificates/trust-source/anchors",
	}
}

// hostCAs gives what the machine trusts beyond Mozilla's roots: the local anchors,
// and, where the public roots are there to compare with, whatever else is in its
// bundle or its hashed directory.
func hostCAs(o LoadOptions, note func(string, ...any)) []Certificate {
	public := map[[32]byte]bool{}
	for _, f := range filesBelow(o, mozilla) {
		for _, c := range quietPEM(o.root(f)) {
			public[sha256.Sum256(c.cert.Raw)] = true
		}
	}
	var files []string
	for _, dir := range localAnchors() {
		files = append(files, filesBelow(o, dir)...)
	}
	if len(public) > 0 {
		list, _ := os.ReadDir(o.root("/etc/ssl/certs"))
		for _, e := range list {
			if strings.HasSuffix(e.Name(), ".pem") {
				files = append(files, "/etc/ssl/certs/"+e.Name())
			}
		}
		files = append(files, "/etc/ssl/certs/ca-certificates.crt")
	}
	var out []Certificate
	for _, f := range files {
		data, err := os.ReadFile(o.root(f))
		if err != nil {
			continue // a dangling link, or a file of root's alone: not trusted by programs either
		}
		all, bad := readPEM(data)
		if bad != nil {
			note("%s: left out: %s", f, bad.cause)
			continue
		}
		for _, c := range all {
			if public[sha256.Sum256(c.cert.Raw)] {
				continue
			}
			if bad := c.judge(o.Now); bad != nil {
				if !strings.HasPrefix(f, "/etc/ssl/certs/") || isCA(c.cert) {
					note("%s: left out: %s", f, bad.cause) // Debian keeps server certificates in /etc/ssl/certs too
				}
				continue
			}
			name := strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))
			if len(all) > 1 {
				name = subjectName(c.cert)
			}
			out = addCAs(out, []Certificate{{Name: safeName(name), PEM: encode(c.cert), BuildOnly: true}})
		}
	}
	return out
}

// filesBelow lists *.crt, *.pem and *.cer files of a directory of the machine and
// its subdirectories, sorted.
func filesBelow(o LoadOptions, dir string) []string {
	var out []string
	list, _ := os.ReadDir(o.root(dir))
	for _, e := range list {
		path := dir + "/" + e.Name()
		if e.IsDir() {
			out = append(out, filesBelow(o, path)...)
			continue
		}
		if slices.Contains([]string{".crt", ".pem", ".cer"}, filepath.Ext(path)) {
			out = append(out, path)
		}
	}
	return out
}

func quietPEM(path string) []found {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	all, _ := readPEM(data)
	return all
}
