package apptainer

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/pipelines"
)

var host = pipelines.HostPlatform()

func scratch() pipelines.Image { return pipelines.From(host, pipelines.Scratch{}) }

func step(network pipelines.Network, shell string) pipelines.Step {
	return pipelines.Run{Shell: shell, Network: network}
}

func TestSplit(t *testing.T) {
	none, any := pipelines.NetworkNone, pipelines.NetworkHost
	offline := scratch().Then(step(none, "a"))
	mixed := offline.Then(step(any, "b"))
	for what, c := range map[string]struct {
		image    pipelines.Image
		networks []network
		bases    int // of parts that start from the part before
	}{
		"no steps":          {scratch().Then(pipelines.File{Path: "/x"}), []network{noSteps}, 0},
		"all without":       {offline.Then(pipelines.File{Path: "/x"}), []network{loopbackOnly}, 0},
		"all with":          {scratch().Then(step(any, "a")), []network{hostNetwork}, 0},
		"there and back":    {mixed.Then(pipelines.File{Path: "/x"}).Then(step(none, "c")), []network{loopbackOnly, hostNetwork, loopbackOnly}, 2},
		"what is copied":    {scratch().Then(pipelines.Copy{From: offline, Src: []string{"/"}, Dst: "/"}).Then(step(any, "c")), []network{loopbackOnly, hostNetwork}, 1},
		"copied in between": {scratch().Then(step(any, "c")).Then(pipelines.Copy{From: offline, Src: []string{"/"}, Dst: "/"}).Then(pipelines.File{Path: "/y"}), []network{hostNetwork, loopbackOnly}, 1},
	} {
		g, err := c.image.Graph()
		if err != nil {
			t.Fatal(err)
		}
		parts, err := split(g)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		bases, nodes := 0, map[string]bool{}
		for i, p := range parts {
			if i >= len(c.networks) || p.network != c.networks[i] {
				t.Errorf("%s: part %d has network %v, want %v", what, i, p.network, c.networks)
			}
			if _, ok := p.graph.Nodes[0].Op.(pipelines.Layout); ok {
				bases++
			}
			have := map[string]bool{}
			for _, n := range p.graph.Nodes {
				for _, in := range n.Inputs {
					if !have[in] {
						t.Errorf("%s: part %d: %s stands on what is not there", what, i, n.Name)
					}
				}
				have[n.ID], nodes[n.ID] = true, true
			}
		}
		if len(parts) != len(c.networks) || bases != c.bases || parts[len(parts)-1].graph.ID() != g.ID() {
			t.Errorf("%s: %d parts, %d on others, want %v, %d", what, len(parts), bases, c.networks, c.bases)
		}
		for _, n := range g.Nodes {
			if !nodes[n.ID] {
				t.Errorf("%s: %s is in no part", what, n.Name)
			}
		}
	}
	g, err := scratch().Then(pipelines.Copy{From: mixed, Src: []string{"/"}, Dst: "/"}).Graph()
	if err != nil {
		t.Fatal(err)
	}
	var un *builders.UnsupportedError
	if _, err := split(g); !errors.As(err, &un) || !strings.Contains(err.Error(), "parts_test.go:") {
		t.Errorf("%v", err)
	}
}

// Messages as Apptainer 1.4.5 writes them, and what they are about.
func TestDiagnose(t *testing.T) {
	failed := &exitError{code: 255}
	for said, want := range map[string]string{
		"FATAL:   While performing build: packer failed to pack: while unpacking tmpfs: write /x: no space left on device":                               "the disk is full",
		"ERROR  : Requesting capability set 0x000001ffffffffff while permitted capability set is 0x000001fffeffffff":                                     "CAP_SYS_RESOURCE",
		"FATAL:   could not use fakeroot: no mapping entry found in /etc/subuid for someone":                                                             "no subordinate ids",
		"FATAL:   container creation failed: mount hook function failure: image driver mount failure: fuse: failed to open /dev/fuse: Permission denied": "/dev/fuse cannot be used",
		"mounts: mount /proc: operation not permitted":                                                                                                   "hides parts of /proc",
		"FATAL:   While performing build: while creating squashfs: mksquashfs: executable file not found in $PATH":                                       "mksquashfs is not installed",
		"FATAL:   While performing build: conveyor failed to get: image architecture arm64 does not match the requested architecture amd64":              "another architecture",
		"FATAL:   something else": "something else",
	} {
		err := diagnose(failed, []string{"INFO:    Starting build...", said})
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), said[9:]) && !strings.Contains(err.Error(), said) {
			t.Errorf("%s\n got %v", said, err)
		}
		if h, ok := err.(interface{ Hint() string }); !ok || h.Hint() == "" && want != "something else" {
			t.Errorf("%s: no hint", said)
		}
	}
	if err := diagnose(failed, []string{"no space left on device"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if err := diagnose(syscall.EIO, nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v", err)
	}
}

// Lines of a build become events: what is a step's, and what Apptainer does itself.
func TestTeller(t *testing.T) {
	g, err := scratch().Then(step("", "one")).Then(step("", "two")).Graph()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	tell := &teller{graph: g, mark: "mark", events: func(e pipelines.Event) { got = append(got, string(e.Kind)+" "+e.Name+": "+e.Text) }}
	one, two := g.Nodes[1], g.Nodes[2]
	for _, l := range []string{"INFO:    Starting build...", "WARNING: something odd", "WARNING: No default remote in use, falling back", "mark " + one.ID[7:], "WARNING: of the step", "mark end",
		"mark " + two.ID[7:], "hello", "FATAL:   While performing build: while running engine: while running %post section: exit status 5"} {
		tell.line(l)
	}
	err = tell.end(&exitError{code: 255})
	var failed *builders.StepError
	if !errors.As(err, &failed) || failed.ExitCode != 5 || failed.Node.ID != two.ID || len(failed.Tail) != 1 || failed.Tail[0] != "hello" {
		t.Errorf("%+v", err)
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{"start apptainer build", "warning : apptainer: something odd", "done apptainer build", "start run one", "log run one: WARNING: of the step", "done run one", "failed run two"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "warning : apptainer: No default") || strings.Contains(text, "warning : apptainer: of the step") {
		t.Error(text)
	}
}
