package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/builders"
	"github.com/cfbuild/cfbuild/cmd/cli/progress"
	"github.com/cfbuild/cfbuild/internal/sif"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
	"github.com/cfbuild/cfbuild/publishers/tags"
	"github.com/cfbuild/cfbuild/site"
	"github.com/spf13/cobra"
)

// runFlags are the flags of run.
type runFlags struct {
	builderFlags
	isolation, storage *choice
	platform           string
	formats            choices
	sifCompression     *choice
	sifSign            signFlags
	onConflict         *choice
	output, push       string
	tags, secrets      []string
	mediaType          *choice
	progress           *choice
	json               bool
	noCache, keep      bool
	cacheFrom, cacheTo []string
	skipPublished      bool
	test               bool
	junit              string
}

func (p *program) runCommand() *cobra.Command {
	var f runFlags
	name := p.app.name()
	cmd := &cobra.Command{
		Use:   "run TARGET…",
		Short: "build targets and write or push the images",
		Long: "Builds targets. DIR/TARGET becomes an OCI image layout that holds all platforms;\n" +
			"with --format docker, DIR/TARGET-ARCH.docker.tar is what docker load takes,\n" +
			"and with --format sif DIR/TARGET-ARCH.sif what Apptainer runs.\n\n" +
			"--push auto pushes in a GitLab job, to $CI_REGISTRY_IMAGE/TARGET with the job's own\n" +
			"credentials, and nowhere else. With several targets, REF becomes REF/TARGET. SIF files go to\n" +
			"the project's package registry, as TARGET/VERSION/TARGET-VERSION-ARCH.sif, or with oras://REF\n" +
			"to a registry, with tags TAG-ARCH.\n\n" +
			"Progress goes to stderr, what was made to stdout.\n\nExit codes:\n" + ExitCodes,
		Example: fmt.Sprintf("  %[1]s run debian12\n  %[1]s run debian12 --platform linux/amd64,linux/arm64 --format oci,docker\n"+
			"  %[1]s run debian12 --platform all --push registry.example.org/group/debian12 --tag 12,latest", name),
		Args:              p.needTargets(1, 0),
		ValidArgsFunction: p.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.builderFlags.isolation, f.driver = f.isolation.value, f.storage.value
			return p.run(cmd.Context(), f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.platform, "platform", "host", "`host|all|LIST` such as linux/arm64,s390x; all: what the source offers and\nthis machine can run or emulate")
	p.builderFlag(cmd, &f.builder)
	f.isolation = choiceFlag(cmd, "isolation", "how steps are run", "auto", "chroot", "runc")
	f.storage = choiceFlag(cmd, "storage", "storage driver of the builder", "auto", "overlay", "fuse-overlayfs", "vfs")
	f.formats = choices{values: []string{"oci"}, allowed: []string{"oci", "docker", "sif"}}
	fl.Var(&f.formats, "format", "what to write")
	f.sifCompression = sifCompressionFlag(cmd, "sif-compression")
	f.sifSign.add(cmd, "sif-sign", "sif-passphrase")
	fl.StringVar(&f.output, "output", "out", "`DIR` to write to")
	fl.StringVar(&f.push, "push", "auto", "`auto|never|REF|oras://REF`")
	fl.StringArrayVar(&f.tags, "tag", nil, "`T,…` of what is pushed, names or words: semver, commit, date, channel, ref, …\n(default auto: in GitLab the git tag or branch, and latest on the default branch;\nelsewhere latest; "+name+" tags tells)")
	f.onConflict = conflictFlag(cmd)
	f.mediaType = choiceFlag(cmd, "media-type", "manifests to push", "v2s2", "oci")
	f.progress = choiceFlag(cmd, "progress", "how to show what happens", "auto", "tty", "plain", "json")
	fl.BoolVar(&f.json, "json", false, "print what was made as one JSON document")
	fl.IntVar(&f.jobs, "jobs", 0, "how many images to build at once (default: one per two processors, at least 2)")
	fl.BoolVar(&f.noCache, "no-cache", false, "run every step again")
	fl.StringArrayVar(&f.cacheFrom, "cache-from", nil, "where to look for results of steps: `auto|never|REF|DIR|type=…` (default never;\nauto: in a GitLab job its registry and .cfbuild-cache; see docs/cache.md)")
	fl.StringArrayVar(&f.cacheTo, "cache-to", nil, "where to keep results of steps: `auto|never|REF|DIR|type=…` (default never)")
	fl.BoolVar(&f.skipPublished, "skip-published", false, "do not build what was pushed before from the same inputs, by a run with this flag;\nsee docs/cache.md")
	fl.BoolVar(&f.keep, "keep", false, "leave a failed step's container for inspection")
	fl.BoolVar(&f.test, "test", false, "run the image tests that the targets declare, on every platform; what does not\npass is not written or pushed")
	fl.StringVar(&f.junit, "junit", "", "write the results of --test to `FILE` as JUnit XML")
	fl.StringArrayVar(&f.secrets, "secret", nil, "`id=NAME,src=FILE` or id=NAME,env=VAR, for steps that ask for it")
	_ = cmd.RegisterFlagCompletionFunc("platform", completePlatforms)
	_ = cmd.RegisterFlagCompletionFunc("tag", p.completeTags)
	return cmd
}

func (p *program) builderFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "builder", "auto", "`auto|NAME[:ADDRESS]`")
	_ = cmd.RegisterFlagCompletionFunc("builder", p.completeBuilders)
}

// request is a run with everything checked that can be without any work.
type request struct {
	flags     runFlags
	site      site.Site
	targets   []pipelines.Target
	platforms platformsFlag
	repos     map[string]string
	sifs      sifPlace
	sifKey    *sif.SigningKey
	tags      tags.Decision
	secrets   map[string][]byte
	caches    caches
	skipped   []pipelines.Receipt // targets that were published before
	publisher Publisher
	stateDir  string
	output    string
	engine    engine.Engine
}

// prepare reads and checks flags, the environment and the site.
func (p *program) prepare(f runFlags, names []string) (request, error) {
	r := request{flags: f, output: p.env.path(f.output)}
	var pl pipelines.Pipeline
	var tag string
	var err error
	steps := []func() error{
		func() error { r.platforms, err = parsePlatforms(f.platform); return err },
		func() error { _, _, err = p.findBackend(f.builder); return err },
		func() error { r.engine.Epoch, err = p.env.epoch(); return err },
		func() error { r.sifKey, err = p.signing(f.sifSign, "sif-sign", "sif-passphrase"); return err },
		func() error { r.stateDir, err = p.env.stateDir(p.stateFlag); return err },
		func() error { r.secrets, err = p.secrets(f.secrets); return err },
		func() error { r.site, pl, err = p.load(); return err },
		func() error { r.targets, err = p.targets(pl, names); return err },
		func() error {
			r.repos, tag, err = p.destination(strings.TrimPrefix(f.push, orasScheme), r.targets)
			return err
		},
		func() error { r.tags, err = p.decideTags(f.tags, tag); return err },
		func() error { r.sifs, err = p.sifPlace(&r); return err },
		func() error { r.caches, err = p.caches(f.cacheFrom, f.cacheTo); return err },
		func() error { r.publisher, err = p.publisher(r); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return r, err
		}
	}
	if err := r.skipFlags(); err != nil {
		return r, err
	}
	if f.junit != "" && !f.test {
		return r, usagef("add --test", "--junit %q: nothing is tested", f.junit)
	}
	if r.sifKey != nil && !slices.Contains(f.formats.values, string(pipelines.FormatSIF)) {
		return r, usagef("add --format sif", "--sif-sign %q: no SIF file is made", f.sifSign.key)
	}
	if f.jobs < 0 {
		return r, usagef("", "--jobs \"%d\": is negative", f.jobs)
	}
	if f.jobs == 0 {
		r.flags.jobs = max(2, runtime.NumCPU()/2)
	}
	return r, nil
}

// tempDir is the directory of the state directory for what is too large for
// memory; a run that was killed may leave something there.
const tempDir = "tmp"

func (p *program) publisher(r request) (Publisher, error) {
	if p.app.Publisher == nil {
		return nil, errors.New("publisher: this program has none; set Publisher in cli.App")
	}
	credentials, err := p.credentials()
	if err != nil {
		return nil, err
	}
	return p.app.Publisher(PublisherOptions{Site: r.site, Credentials: credentials, AuthFile: p.env.Getenv("REGISTRY_AUTH_FILE"),
		Project: p.env.Getenv("CI_REGISTRY_IMAGE"), TempDir: filepath.Join(r.stateDir, tempDir)}), nil
}

func (p *program) run(ctx context.Context, f runFlags, names []string) error {
	r, err := p.prepare(f, names)
	if err != nil {
		return err
	}
	started := p.env.Now()
	rep := report{Version: 1, Site: r.site.Name}
	err = p.showing(ctx, f.progress.value, func(sink pipelines.Sink) error { return p.build(ctx, &r, sink, &rep) })
	rep.finish(err, p.env.Now().Sub(started))
	if f.json {
		if e := rep.writeJSON(p.env.Stdout); e != nil {
			return errors.Join(err, e)
		}
		return err
	}
	if e := rep.writeText(p.env.Stdout, p.env.shown); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// build runs the plan and delivers what was built.
func (p *program) build(ctx context.Context, r *request, sink pipelines.Sink, rep *report) error {
	return p.withEngine(ctx, r, sink, func(e *engine.Engine) error {
		rep.Builder = e.Builder.Name()
		built, left, err := p.built(ctx, r, e)
		rep.LeftOut = left
		rep.built(built)
		rep.Receipts = r.skipped
		err = errors.Join(err, p.tested(ctx, r, e, &built, rep, err))
		if ctx.Err() != nil || len(built.Artifacts) == 0 {
			return errors.Join(err, ctx.Err())
		}
		var formats []pipelines.Format
		for _, f := range r.flags.formats.values {
			formats = append(formats, pipelines.Format(f))
		}
		r.tellHeld(sink)
		delivered, pushErr := e.Deliver(ctx, r.publisher, built, engine.Delivery{Output: r.output, Formats: formats,
			Push: r.repos, Tags: r.tags.Names(), MediaType: r.flags.mediaType.value, Marks: r.marks(built),
			SIFCompression: r.flags.sifCompression.value, SIFSign: r.sifKey})
		rep.Outputs, rep.Receipts = delivered.Outputs, append(rep.Receipts, delivered.Receipts...)
		if pushErr == nil {
			var receipts []pipelines.Receipt
			receipts, pushErr = p.pushSIFs(ctx, r, delivered.Outputs, rep.Artifacts, sink)
			rep.Receipts = append(rep.Receipts, receipts...)
		}
		return errors.Join(err, pushErr)
	})
}

func warnLeftOut(left []leftOut, sink pipelines.Sink) {
	for _, l := range left {
		sink.Send(pipelines.Event{Kind: pipelines.EventWarning, Text: fmt.Sprintf("%s for %s is left out: %s", l.Target, l.Platform, l.Reason)})
	}
}

// runChecked runs the plan and meanwhile checks that the builder can do all of it:
// if it cannot, that is said before much is fetched.
func runChecked(ctx context.Context, e *engine.Engine, pl pipelines.Plan) (engine.Built, error) {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	checked := make(chan error, 1)
	go func() {
		caps, err := e.Builder.Capabilities(inner)
		if err == nil {
			err = runnable(e.Builder.Name(), caps, pl)
		}
		if err != nil {
			stop(err)
		}
		checked <- err
	}()
	built, err := e.Run(inner, pl)
	if cannot := <-checked; cannot != nil && ctx.Err() == nil {
		return engine.Built{}, cannot
	}
	return built, err
}

func (p *program) engine(r *request, b builders.Builder, sink pipelines.Sink) *engine.Engine {
	e := r.engine
	e.Builder, e.Bootstrappers, e.Site, e.StateDir = b, p.app.Bootstrappers, r.site, r.stateDir
	e.Jobs, e.Now, e.Secrets = r.flags.jobs, p.env.Now(), r.secrets
	e.NoCache, e.Keep = r.flags.noCache, r.flags.keep
	e.CacheFrom, e.CacheTo, e.Credentials, e.AuthFile = r.caches.from, r.caches.to, r.caches.credentials, p.env.Getenv("REGISTRY_AUTH_FILE")
	e.Resolve, e.Events = r.publisher.Platforms, sink
	return &e
}

// renderer chooses how events are shown.
func (p *program) renderer(kind string) progress.Renderer {
	get := p.env.Getenv
	if kind == "auto" {
		kind = "plain"
		if term := get("TERM"); p.env.Terminal != nil && term != "dumb" && term != "" {
			kind = "tty"
		}
	}
	switch kind {
	case "json":
		return progress.JSON(p.env.Stderr)
	case "tty":
		size := p.env.Terminal
		if size == nil { // asked for, and stderr is a file or a pipe
			size = func() (int, int) { return 80, 24 }
		}
		return progress.TTY(p.env.Stderr, progress.TTYOptions{Now: p.env.Now, Size: size, Color: get("NO_COLOR") == "", Unicode: utf8Locale(get)})
	}
	return progress.Plain(p.env.Stderr, progress.PlainOptions{GitLab: get("GITLAB_CI") == "true"})
}

// utf8Locale follows setlocale(3): LC_ALL, LC_CTYPE, LANG, the first that is set.
func utf8Locale(get func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(get(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// stateError says what to do about a state directory that cannot be used.
func stateError(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		err = &hintError{err, "name a directory of yours with --state-dir or CFBUILD_STATE_DIR"}
	}
	return fmt.Errorf("state directory %s: %w", dir, err)
}
