package common_test

import (
	"reflect"
	"testing"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes/common"
	"github.com/cfbuild/cfbuild/site"
)

func TestLabels(t *testing.T) {
	got := common.Info{Title: "Lab", Licenses: "MIT"}.Labels()
	want := map[string]string{"org.opencontainers.image.title": "Lab", "org.opencontainers.image.licenses": "MIT"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := common.CALabels([]site.Certificate{{Name: "a"}, {Name: "b"}}); got[common.LabelCA] != "a,b" {
		t.Errorf("got %v", got)
	}
	if got := common.CALabels(nil); len(got) != 0 {
		t.Errorf("no authority gives %v", got)
	}
}

// Recipes are values: what a caller does to its map later changes no image.
func TestImagesKeepTheirValues(t *testing.T) {
	base := pipelines.From(pipelines.HostPlatform(), pipelines.Scratch{})
	env := map[string]string{"A": "1"}
	img := base.With(common.Env(env), common.Describe(common.Info{Title: "x"}), common.Labels(nil))
	before, err := img.Graph()
	if err != nil {
		t.Fatal(err)
	}
	env["A"] = "2"
	after, _ := img.Graph()
	if before.ID() != after.ID() || len(before.Nodes) != 3 {
		t.Errorf("the image changed, or has %d nodes instead of 3", len(before.Nodes))
	}
}
