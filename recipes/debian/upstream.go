package debian

import (
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

func (o Options) image() string {
	if o.Image != "" {
		return o.Image
	}
	return "docker.io/library/" + o.release().distribution + ":" + o.Suite
}

// upgrade brings an image that was pulled up to date, in one step, so that nothing
// that is removed again gets into a layer (NCCS best practices 2.5 to 2.7). An
// image made of packages is up to date already.
//
// While it runs, apt fetches from the mirrors that the site has for building, where
// they differ from those that the image keeps: their files are shown to it in place
// of the image's own. DEBIAN_FRONTEND holds for this step and does not stay.
func (o Options) upgrade(s site.Site, p pipelines.Platform) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		if o.Source != common.FromImage {
			return img
		}
		var b strings.Builder
		b.WriteString("apt-get update -o APT::Update::Error-Mode=any\napt-get -y dist-upgrade\n")
		if len(o.Include) > 0 {
			b.WriteString("apt-get -y install " + strings.Join(o.Include, " ") + "\n")
		}
		if o.release().distribution == ubuntuName {
			// Its home is in a directory that runtimes mount over.
			b.WriteString("if id -u ubuntu >/dev/null 2>&1; then userdel --remove ubuntu 2>/dev/null; fi\n")
		}
		b.WriteString(`apt-get -y autoremove --purge
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old /var/cache/debconf/*-old
rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
mkdir -p /var/lib/apt/lists/partial /var/log/apt
`)
		return img.Then(pipelines.Run{
			Name:  "upgrade packages",
			Shell: b.String(),
			Env: map[string]string{
				"DEBIAN_FRONTEND":             "noninteractive",
				"DEBCONF_NONINTERACTIVE_SEEN": "true",
				"LC_ALL":                      common.Locale,
				"PATH":                        common.Path,
			},
			User:   "0:0",
			Dir:    "/",
			Mounts: o.buildSources(s, p),
		})
	}
}

// buildSources shows apt the files that say where to fetch from while building;
// nothing where they are those of the image.
func (o Options) buildSources(s site.Site, p pipelines.Platform) []pipelines.Mount {
	want, kept := aptSources(o, forBuilding(s), p), aptSources(o, s, p)
	if slices.EqualFunc(want, kept, func(a, b pipelines.File) bool { return a.Path == b.Path && string(a.Data) == string(b.Data) }) {
		return nil
	}
	img := pipelines.From(p, pipelines.Scratch{})
	var dirs []string
	for _, f := range want {
		img = img.Then(f)
		if dir := f.Path[:strings.LastIndexByte(f.Path, '/')]; !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	var out []pipelines.Mount
	for _, dir := range dirs {
		out = append(out, pipelines.Mount{From: img, Src: dir, Target: dir})
	}
	return out
}

// forBuilding is the site as if what it has for building were for images.
func forBuilding(s site.Site) site.Site {
	mirrors := map[string][]site.Mirror{}
	for name := range s.Mirrors {
		for _, u := range s.URLs(name) {
			mirrors[name] = append(mirrors[name], site.Mirror{URL: u})
		}
	}
	keys := map[string]site.Keyring{}
	for name, k := range s.Keyrings {
		k.BuildOnly = false
		keys[name] = k
	}
	s.Mirrors, s.Keyrings = mirrors, keys
	return s
}

func join(words []string) string { return strings.Join(words, ", ") }
