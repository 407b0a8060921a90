package suse

import (
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// upgrade brings an image that was pulled up to date, in one step, so that nothing
// that is removed again gets into a layer (NCCS best practices 2.5 to 2.7). An image
// made of packages is up to date already, and SLES12 cannot be.
//
// Patches that change zypper come alone (exit code 103), the others at the second
// call; 102, a reboot is needed, means nothing here. The distribution's keys are
// imported from the image's own files, none from a mirror.
//
// While it runs, zypper fetches from the mirrors that the site has for building,
// where they differ from those that the image keeps: their files are shown to it in
// place of the image's own. It looks for authorities in SUSE's own directory alone,
// so what SSL_CERT_FILE names is made an anchor until the step ends.
func (o Options) upgrade(s site.Site, p pipelines.Platform) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		r := o.release()
		if o.Source != common.FromImage || len(r.repositories) == 0 {
			return img
		}
		var b strings.Builder
		b.WriteString(`building=` + anchorDir + `/cfbuild-building.pem
if [ -n "${SSL_CERT_FILE:-}" ]; then
	cp "$SSL_CERT_FILE" $building
	update-ca-certificates
fi
`)
		var keys []string
		for _, x := range r.repositories {
			if x.repository != "" && !slices.Contains(keys, x.key()) {
				keys = append(keys, x.key())
			}
		}
		b.WriteString("rpm --import " + strings.Join(keys, " ") + "\n")
		b.WriteString(`ok() { case $1 in 102 | 103) ;; *) exit "$1" ;; esac; }
zypper --non-interactive refresh
zypper --non-interactive patch || ok $?
zypper --non-interactive patch || ok $?
zypper --non-interactive update || ok $?
`)
		if len(o.Include) > 0 {
			b.WriteString("zypper --non-interactive install " + strings.Join(o.Include, " ") + " || ok $?\n")
		}
		b.WriteString(`zypper clean --all
rm -rf /var/cache/zypp/* /var/log/zypp /var/log/zypper.log /var/cache/ldconfig/aux-cache
rm -f /etc/zypp/repos.d/*.rpmnew /etc/zypp/zypp.conf.rpmnew
if [ -e $building ]; then
	rm $building
	update-ca-certificates
fi
`)
		return img.Then(pipelines.Run{
			Name:   "upgrade packages",
			Shell:  b.String(),
			Env:    map[string]string{"LC_ALL": r.locale, "PATH": common.Path},
			User:   "0:0",
			Dir:    "/",
			Mounts: common.Shown(p, packageFiles(o, common.ForBuilding(s)), packageFiles(o, s)),
		})
	}
}
