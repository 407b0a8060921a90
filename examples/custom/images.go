//go:build containers_image_openpgp && exclude_graphdriver_btrfs

package main

import (
	_ "embed"
	"strconv"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/debian"
	"github.com/cfbuild/cfbuild/site"
)

// greet is a script of ours that goes into the image. Embedding it keeps the
// definition a value: the program needs no files beside it.
//
//go:embed greet.sh
var greet []byte

// targets gives the images of this program at one site.
func targets(s site.Site) pipelines.Pipeline {
	both := []pipelines.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	return pipelines.Pipeline{Name: "custom", Targets: []pipelines.Target{
		{
			Name:        "toolbox",
			Aliases:     []string{"tools"},
			Description: "Debian 12 with a few tools and a user",
			Platforms:   both,
			Build:       func(p pipelines.Platform) pipelines.Image { return toolbox(s, p) },
		},
		{
			Name:        "hello",
			Description: "Debian 12 without apt, and a file made in another image",
			Platforms:   both,
			Build:       func(p pipelines.Platform) pipelines.Image { return hello(s, p) },
		},
	}}
}

// toolbox stands on a recipe, with packages of our choice.
func toolbox(s site.Site, p pipelines.Platform) pipelines.Image {
	base := debian.New(debian.Options{Suite: "bookworm", Include: []string{"less", "procps"}})(s, p)
	return base.With(greeting, user("tools", 900))
}

// hello copies one file from another image: only that file is in the result.
func hello(s site.Site, p pipelines.Platform) pipelines.Image {
	built := debian.New(debian.Options{Suite: "bookworm"})(s, p).Then(
		pipelines.Run{Name: "compose the greeting", Shell: "printf 'made for %s\\n' \"$(uname -m)\" > /greeting", Network: pipelines.NetworkNone},
	)
	return debian.New(debian.Options{Suite: "bookworm", Variant: "essential"})(s, p).Then(
		pipelines.Copy{From: built, Src: []string{"/greeting"}, Dst: "/etc/motd"},
		pipelines.Configure{Cmd: []string{"cat", "/etc/motd"}},
	)
}

// greeting and user are pieces that any image can be made of.
func greeting(i pipelines.Image) pipelines.Image {
	return i.Then(pipelines.File{Path: "/usr/local/bin/greet", Data: greet, Mode: 0o755})
}

func user(name string, id int) func(pipelines.Image) pipelines.Image {
	return func(i pipelines.Image) pipelines.Image {
		return i.Then(
			pipelines.Run{Name: "add user " + name, Shell: "useradd --system --create-home --uid \"$ID\" \"$NAME\"",
				Env: map[string]string{"ID": strconv.Itoa(id), "NAME": name}},
			pipelines.Configure{User: name, Cmd: []string{"greet"}},
		)
	}
}
