package common_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
)

// An option that makes no sense is an error with the line of whoever called the
// recipe, for the image itself and for all that is made of it.
func TestOptions(t *testing.T) {
	c := common.CheckOptions("recipe test") // this line
	c.Refuse(false, "is fine", "")
	p := pipelines.HostPlatform()
	if _, bad := c.Invalid(p); bad {
		t.Fatal("nothing is wrong")
	}
	c.Refuse(true, "has no suite", "set Suite")
	c.Refuse(true, "has another fault", "")
	img, bad := c.Invalid(p)
	if !bad || img.Platform() != p {
		t.Fatalf("bad %v, platform %v", bad, img.Platform())
	}
	other := pipelines.From(p, pipelines.Scratch{})
	for name, img := range map[string]pipelines.Image{
		"itself": img,
		"on it":  img.Then(pipelines.Remove{Paths: []string{"/a"}}),
		"copied": other.Then(pipelines.Copy{From: img, Src: []string{"/a"}, Dst: "/a"}),
		"shown":  other.Then(pipelines.Run{Shell: "true", Mounts: []pipelines.Mount{{From: img, Src: "/a", Target: "/b"}}}),
	} {
		_, err := img.Graph()
		var e *pipelines.InvalidError
		if !errors.As(err, &e) || !errors.Is(err, pipelines.ErrInvalid) || e.Hint() != "set Suite" {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil || !strings.HasPrefix(err.Error(), "common/options_test.go:15: recipe test: has no suite") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(common.BaseTests("ID=debian")) < 8 {
		t.Error("hardly any test")
	}
}
