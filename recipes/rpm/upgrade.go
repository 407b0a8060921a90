package rpm

import (
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

// upgrade brings an image that was pulled up to date, in one step, so that nothing
// that is removed again gets into a layer (NCCS best practices 2.5 to 2.7, figure 16
// of the ORNL report). An image made of packages is up to date already.
//
// While it runs, dnf fetches from the mirrors that the site has for building, where
// they differ from those that the image keeps: their files are shown to it in place
// of the image's own. It trusts what SSL_CERT_FILE names, where that is set for the
// step.
func (o Options) upgrade(s site.Site, p pipelines.Platform) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		if o.Source != common.FromImage {
			return img
		}
		r := o.release()
		tool := string(r.tool)
		if r.tool == dnf5 {
			tool = "dnf"
		}
		var b strings.Builder
		run := func(args string) {
			b.WriteString(tool + ` -y ${SSL_CERT_FILE:+"--setopt=sslcacert=$SSL_CERT_FILE"} ` + args + "\n")
		}
		run("upgrade")
		if len(o.Include) > 0 {
			run("install " + strings.Join(o.Include, " "))
		}
		run("autoremove")
		b.WriteString(tool + ` clean all
rm -rf /var/cache/dnf /var/cache/libdnf5 /var/cache/yum /var/cache/ldconfig/aux-cache
rm -rf /var/log/dnf* /var/log/hawkey.log /var/log/yum.log /var/lib/dnf/repos /var/lib/yum/repos
rm -f /etc/yum.repos.d/*.rpmnew /etc/yum.repos.d/*.rpmsave /etc/dnf/dnf.conf.rpmnew /etc/yum.conf.rpmnew
`)
		return img.Then(pipelines.Run{
			Name:   "upgrade packages",
			Shell:  b.String(),
			Env:    map[string]string{"LC_ALL": r.locale(), "PATH": common.Path},
			User:   "0:0",
			Dir:    "/",
			Mounts: common.Shown(p, packageFiles(o, common.ForBuilding(s), p), packageFiles(o, s, p)),
		})
	}
}
