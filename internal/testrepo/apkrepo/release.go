package apkrepo

import (
	"slices"
	"strings"
	"testing"
)

// Release gives what a branch such as "3.24" is made of where there is an image of
// Alpine: its packages under today's names, and [Standins].
func Release(t testing.TB, release string) []Pkg {
	t.Helper()
	roots := file(t, "etc/ssl/certs/ca-certificates.crt", "etc/ssl/cert.pem")
	instead := Standins(release, roots)
	out := slices.DeleteFunc(Alpine(t), func(p Pkg) bool {
		return p.Name == "ca-certificates-cacert" || slices.ContainsFunc(instead, func(s Pkg) bool { return s.Name == p.Name })
	})
	return append(out, instead...)
}

// Standins are packages of our own by the names of Alpine's: alpine-release, of the two
// files that say which release it is; ca-certificates, whose update-ca-certificates is a
// shell script, and ca-certificates-bundle, with roots in PEM.
func Standins(release string, roots []byte) []Pkg {
	return []Pkg{
		{Name: "alpine-release", Version: release + ".0-r0", Files: []Entry{
			File("etc/alpine-release", release+".0\n"),
			File("etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID="+release+".0\nPRETTY_NAME=\"Alpine Linux v"+release+"\"\n"),
		}},
		{Name: "ca-certificates-bundle", Version: "20260101-r0", Origin: "ca-certificates", Provides: []string{"ca-certificates-cacert=20260101-r0"}, Files: []Entry{
			File("etc/ssl/certs/ca-certificates.crt", string(roots)), Link("etc/ssl/cert.pem", "certs/ca-certificates.crt"),
		}},
		{Name: "ca-certificates", Version: "20260101-r0", Origin: "ca-certificates", Depends: []string{"/bin/sh", "ca-certificates-bundle"},
			Triggers: []string{"/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/ssl/certs"},
			Scripts:  map[string]string{"trigger": "#!/bin/sh\nexec /usr/sbin/update-ca-certificates\n"},
			Files: []Entry{
				File("usr/share/ca-certificates/mozilla.crt", string(roots)), Dir("usr/local/share/ca-certificates", 0o755),
				Program("usr/sbin/update-ca-certificates", strings.TrimLeft(updateCA, "\n")),
			}},
	}
}

const updateCA = `
#!/bin/sh -e
b=/etc/ssl/certs/ca-certificates.crt
for f in /usr/share/ca-certificates/*.crt /usr/local/share/ca-certificates/*.crt; do
	[ ! -f "$f" ] || cat "$f"
done >$b.new
mv $b.new $b
`
