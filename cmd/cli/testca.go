package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/imagetest/ca"
	"github.com/cfbuild/cfbuild/internal/junit"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/spf13/cobra"
)

// testCAFlags are the flags of test ca.
type testCAFlags struct {
	runFlags
	mode  *choice
	junit string
}

func (p *program) testCACommand() *cobra.Command {
	var f testCAFlags
	name := p.app.name()
	cmd := &cobra.Command{
		Use:   "ca TARGET…",
		Short: "prove that an image's clients work behind a proxy that inspects TLS",
		Long: "Builds each target twice: at the site with a throw-away authority added to it, and at the\n" +
			"site as it is. A proxy on loopback ends TLS with certificates of that authority and asks a\n" +
			"real server behind it. Every client that is in the image (curl, git, pip, node, java, apt,\n" +
			"dnf …) has to succeed with the authority and to fail without it. Images are thrown away.\n\n" +
			"--ca-mode says what the throw-away authority is for: with build-only, clients have to\n" +
			"succeed in a step of the build and to fail in the image, which is the same with and\n" +
			"without it. auto is the mode of the site's own authorities where they have one mode, else\n" +
			"both.\n\n" +
			"Ends with exit code 8 when a client is red or an image has no client to test.",
		Example:           fmt.Sprintf("  %[1]s test ca debian12\n  %[1]s test ca debian12 --platform linux/amd64,linux/arm64 --junit ca.xml", name),
		Args:              p.needTargets(1, 0),
		ValidArgsFunction: p.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.builderFlags.isolation, f.driver = f.isolation.value, f.storage.value
			return p.testCA(cmd.Context(), f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.platform, "platform", "host", "`host|all|LIST` such as linux/arm64,s390x")
	p.builderFlag(cmd, &f.builder)
	f.isolation = choiceFlag(cmd, "isolation", "how steps are run", "auto", "chroot", "runc")
	f.storage = choiceFlag(cmd, "storage", "storage driver of the builder", "auto", "overlay", "fuse-overlayfs", "vfs")
	f.mode = choiceFlag(cmd, "ca-mode", "what the throw-away authority is for", "auto", ca.ModeBoth, ca.ModeBuildOnly, ca.ModeBaked)
	f.progress = choiceFlag(cmd, "progress", "how to show what happens", "auto", "tty", "plain", "json")
	fl.BoolVar(&f.json, "json", false, "print the matrix as one JSON document")
	fl.StringVar(&f.junit, "junit", "", "`FILE` to write a JUnit report to")
	fl.IntVar(&f.jobs, "jobs", 0, "how many images to build at once (default: one per two processors, at least 2)")
	fl.BoolVar(&f.noCache, "no-cache", false, "run every step of the images again")
	fl.StringArrayVar(&f.secrets, "secret", nil, "`id=NAME,src=FILE` or id=NAME,env=VAR, for steps that ask for it")
	_ = cmd.RegisterFlagCompletionFunc("platform", completePlatforms)
	return cmd
}

// testCA proves the targets and says what it found.
func (p *program) testCA(ctx context.Context, f testCAFlags, names []string) error {
	if err := p.onlyTargets(names); err != nil {
		return err
	}
	f.push, f.output = "never", "out"
	without, err := p.prepare(f.runFlags, names)
	if err != nil {
		return err
	}
	authority, err := ca.NewAuthority(p.env.Now())
	if err != nil {
		return err
	}
	mode := f.mode.value
	if mode == "auto" {
		mode = modeOf(without.site.CAs)
	}
	with, err := p.trusting(without, authority.Certificate(mode), names)
	if err != nil {
		return err
	}
	proof := proof{p: p, mode: mode, authority: authority, with: with, without: without}
	if err := p.showing(ctx, f.progress.value, func(sink pipelines.Sink) error { return proof.run(ctx, sink) }); err != nil {
		return err
	}
	return p.reportCA(f, without.site.Name, mode, proof.images)
}

// onlyTargets says what cannot be done with images that are made already.
func (p *program) onlyTargets(names []string) error {
	for _, n := range names {
		_, err := os.Stat(filepath.Join(p.env.path(n), "oci-layout"))
		if err == nil || strings.ContainsAny(n, "/:@") {
			return usagef("name a target: "+p.app.name()+" list shows them",
				"test ca %q: is a finished image, to which no authority can be added", n)
		}
	}
	return nil
}

// modeOf is the mode of a site's authorities, "both" where they differ or there is
// none.
func modeOf(cas []site.Certificate) string {
	all := func(has func(site.Certificate) bool) bool {
		return len(cas) > 0 && !slices.ContainsFunc(cas, func(c site.Certificate) bool { return !has(c) })
	}
	switch {
	case all(func(c site.Certificate) bool { return c.BuildOnly }):
		return ca.ModeBuildOnly
	case all(func(c site.Certificate) bool { return c.ImageOnly }):
		return ca.ModeBaked
	}
	return ca.ModeBoth
}

// trusting is the request at the site with one more authority.
func (p *program) trusting(r request, c site.Certificate, names []string) (request, error) {
	r.site.CAs = append(slices.Clone(r.site.CAs), c)
	pl := p.app.Pipeline(r.site)
	if err := pl.Check(); err != nil {
		return r, err
	}
	var err error
	r.targets, err = p.targets(pl, names)
	return r, err
}

// reportCA writes the matrix and gives the error that the exit code comes from.
func (p *program) reportCA(f testCAFlags, siteName, mode string, images []ca.Image) error {
	red := 0
	for _, i := range images {
		if i.Red() {
			red++
		}
	}
	if f.junit != "" {
		var suites []junit.Suite
		for _, i := range images {
			suites = append(suites, i.JUnit())
		}
		if err := junit.Write(p.env.path(f.junit), "cfbuild test ca", suites); err != nil {
			return fmt.Errorf("--junit: %w", err)
		}
	}
	var err error
	if f.json {
		err = writeJSON(p.env.Stdout, struct {
			Version int        `json:"version"`
			Site    string     `json:"site"`
			Mode    string     `json:"mode"`
			Red     int        `json:"red"`
			Images  []ca.Image `json:"images"`
		}{1, siteName, mode, red, images})
	} else {
		err = ca.Write(p.env.Stdout, images)
	}
	if err == nil && red > 0 {
		err = checkFailedf("docs/ca.md has the clients that need help, and which", "CA proof: %d of %d images are red", red, len(images))
	}
	return err
}
