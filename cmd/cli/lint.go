package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/lint"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/pipelines/engine"
	"github.com/spf13/cobra"
)

// lintFlags are the flags of lint.
type lintFlags struct {
	runFlags
	definitionOnly, rules bool
	failOn                *choice
	ignore, reports       []string
}

// lintReports are the formats of lint --report.
var lintReports = []string{"text", "json", "sarif", "codequality", "junit"}

func (p *program) lintCommand() *cobra.Command {
	var f lintFlags
	name := p.app.name()
	cmd := &cobra.Command{
		Use:   "lint TARGET|REF|LAYOUT…",
		Short: "check definitions and images against practices",
		Long: "Checks images against the practices of NCCS, Docker and OCI. A TARGET is checked in its\n" +
			"definition and in the image built from it, for each platform; an image that is built\n" +
			"already is not built again. A REF is pulled from its registry. A LAYOUT is an OCI image\n" +
			"layout, or a tar file as docker save or skopeo write it. Nothing in an image is run.\n\n" +
			"A finding has a rule, a severity, the place in the image, the author's line where there is\n" +
			"one, and the fix. It never repeats a secret. --ignore RULE[:PATTERN] takes out findings by\n" +
			"rule (id or name) and subject (a path, or one of its parents, a variable, a label); a target\n" +
			"accepts them for good in its definition (Target.Accepts), with a reason. What is ignored is\n" +
			"counted.\n\nExit codes:\n" + ExitCodes,
		Example: fmt.Sprintf("  %[1]s lint debian12\n  %[1]s lint debian12 --platform all --report sarif=lint.sarif --report codequality=gl-code-quality-report.json\n"+
			"  %[1]s lint debian12 --definition-only\n  %[1]s lint registry.example.org/base/debian12:1.4.2 --fail-on error\n"+
			"  %[1]s lint out/debian12 --ignore setuid:/usr/local/bin/\\*", name),
		Args: func(cmd *cobra.Command, args []string) error {
			if f.rules {
				return noArgs(cmd, args)
			}
			if len(args) == 0 {
				return usagef(name+" list shows all targets", "%s: names no target, reference or layout", cmd.CommandPath())
			}
			return nil
		},
		ValidArgsFunction: p.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.rules {
				return p.lintRules(f.json)
			}
			return p.lint(cmd.Context(), f, args, cmd.Flags().Changed("platform"))
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.platform, "platform", "host", "`host|all|LIST` such as linux/arm64,s390x\n(default for references and layouts: all they have)")
	fl.BoolVar(&f.definitionOnly, "definition-only", false, "check definitions, build nothing")
	f.failOn = choiceFlag(cmd, "fail-on", "least severity that gives exit code 8", "warning", "error", "info", "never")
	fl.StringArrayVar(&f.ignore, "ignore", nil, "`RULE[:PATTERN]` to leave out")
	fl.StringArrayVar(&f.reports, "report", nil, "`FORMAT=FILE` to write too: "+strings.Join(lintReports, ", ")+"\n(codequality is GitLab's)")
	fl.BoolVar(&f.rules, "rules", false, "list the rules")
	fl.BoolVar(&f.json, "json", false, "print the report as JSON")
	p.builderFlag(cmd, &f.builder)
	f.isolation = choiceFlag(cmd, "isolation", "how steps are run", "auto", "chroot", "runc")
	f.storage = choiceFlag(cmd, "storage", "storage driver of the builder", "auto", "overlay", "fuse-overlayfs", "vfs")
	f.progress = choiceFlag(cmd, "progress", "how to show what happens", "auto", "tty", "plain", "json")
	fl.IntVar(&f.jobs, "jobs", 0, "how many images to build at once (default: one per two processors, at least 2)")
	fl.StringArrayVar(&f.secrets, "secret", nil, "`id=NAME,src=FILE` or id=NAME,env=VAR, for steps that ask for it")
	_ = cmd.RegisterFlagCompletionFunc("platform", completePlatforms)
	return cmd
}

// linting is one run of lint.
type linting struct {
	p        *program
	f        lintFlags
	r        request
	ignore   []lint.Ignore
	subjects []lint.Subject
	findings []lint.Finding
}

func (p *program) lint(ctx context.Context, f lintFlags, args []string, platformsGiven bool) error {
	reports, err := lintOutputs(f.reports)
	if err != nil {
		return err
	}
	l := linting{p: p, f: f}
	for _, s := range f.ignore {
		i, err := lint.ParseIgnore(s)
		if err != nil {
			return &usageError{err: fmt.Errorf("--ignore %q: %w", s, err)}
		}
		i.From = "--ignore " + s
		l.ignore = append(l.ignore, i)
	}
	l.f.builderFlags.isolation, l.f.driver, l.f.push = f.isolation.value, f.storage.value, "never"
	l.f.tags = []string{"latest"} // nothing is pushed: git need not be asked
	_, pl, err := p.load()
	if err != nil {
		return err
	}
	named, others, err := p.sortNames(pl, args)
	if err != nil {
		return err
	}
	if l.r, err = p.prepare(l.f.runFlags, named); err != nil {
		return err
	}
	for _, t := range l.r.targets {
		accepted, err := lint.Accepted(t)
		if err != nil {
			return err
		}
		l.ignore = append(l.ignore, accepted...)
	}
	err = p.showing(ctx, f.progress.value, func(sink pipelines.Sink) error {
		err := l.targets(ctx, sink)
		for _, o := range others {
			if ctx.Err() != nil {
				break
			}
			err = errors.Join(err, l.other(ctx, o, platformsGiven, sink))
		}
		return err
	})
	if len(l.subjects) == 0 {
		return err
	}
	lint.Sort(l.findings)
	return errors.Join(err, l.finish(reports))
}

// finish writes the reports and judges.
func (l *linting) finish(reports []lintOutput) error {
	p := l.p
	report := lint.NewReport(l.subjects, l.findings, l.ignore)
	if l.f.definitionOnly { // what only an image has may be accepted too
		report.Unused = []lint.Ignore{}
	}
	paths := p.sourcePaths()
	least := lint.Error + 1
	if l.f.failOn.value != "never" {
		if err := least.UnmarshalText([]byte(l.f.failOn.value)); err != nil {
			return err
		}
	}
	write := func(w io.Writer, format string) error {
		switch format {
		case "json":
			return report.WriteJSON(w, paths)
		case "sarif":
			return report.WriteSARIF(w, p.buildInfo().Version, paths)
		case "codequality":
			return report.WriteCodeQuality(w, paths)
		case "junit":
			return report.WriteJUnit(w, least, paths)
		}
		return report.WriteText(w, paths)
	}
	for _, o := range reports {
		var b bytes.Buffer
		if err := write(&b, o.format); err != nil {
			return err
		}
		if err := atomicfile.Write(p.env.path(o.file), b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("--report %s: %w", o.format, err)
		}
	}
	format := "text"
	if l.f.json {
		format = "json"
	}
	if err := write(p.env.Stdout, format); err != nil {
		return err
	}
	if report.Worst(least) {
		return checkFailedf("--ignore RULE:PATTERN leaves a finding out, Target.Accepts does for good", "lint: %s", report.Summary())
	}
	return nil
}

// lintOutput is one --report.
type lintOutput struct{ format, file string }

func lintOutputs(flags []string) ([]lintOutput, error) {
	var out []lintOutput
	for _, s := range flags {
		format, file, ok := strings.Cut(s, "=")
		if err := among(format, lintReports); err != nil {
			return nil, usagef(strings.Join(findHints(err), " "), "--report %q: format %q %w", s, format, err)
		}
		if !ok || file == "" {
			return nil, usagef("write --report "+format+"=FILE", "--report %q: names no file", s)
		}
		out = append(out, lintOutput{format, file})
	}
	return out, nil
}

// targets checks definitions and, unless only they are asked for, the images that
// are built from them.
func (l *linting) targets(ctx context.Context, sink pipelines.Sink) error {
	if len(l.r.targets) == 0 {
		return nil
	}
	now := l.p.env.Now()
	if l.f.definitionOnly {
		pl, _, err := plan(ctx, l.r.targets, l.r.platforms, nil)
		if err != nil {
			return err
		}
		for _, t := range l.r.targets {
			var found []lint.Finding
			for _, j := range pl.Jobs {
				if j.Target == t.Name {
					l.subjects = append(l.subjects, lint.Subject{Image: t.Name, Platform: j.Platform})
					found = append(found, lint.Definition(j, t, l.r.site, now)...)
				}
			}
			l.findings = append(l.findings, lint.Join(false, found, nil)...)
		}
		return nil
	}
	return l.p.withEngine(ctx, &l.r, sink, func(e *engine.Engine) error {
		built, _, err := l.p.built(ctx, &l.r, e)
		for _, t := range l.r.targets {
			var definition, image []lint.Finding
			for _, a := range built.Artifacts {
				if a.Target != t.Name {
					continue
				}
				job, jobErr := pipelines.NewJob(t, a.Platform)
				if jobErr != nil {
					return errors.Join(err, jobErr)
				}
				found, imageErr := lintArtifact(ctx, a, lint.ImageOptions{Name: t.Name, Target: &t, Graph: job.Graph, Now: now})
				if imageErr != nil {
					return errors.Join(err, imageErr)
				}
				l.subjects = append(l.subjects, lint.Subject{Image: t.Name, Platform: a.Platform, Digest: a.Digest})
				definition = append(definition, lint.Definition(job, t, l.r.site, now)...)
				image = append(image, found...)
			}
			l.findings = append(l.findings, lint.Join(true, definition, image)...)
		}
		return err
	})
}

// lintRules lists the rules.
func (p *program) lintRules(asJSON bool) error {
	if asJSON {
		return writeJSON(p.env.Stdout, lint.Rules())
	}
	w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "RULE\tNAME\tSEVERITY\tLOOKS AT\tASKS FOR\n")
	for _, r := range lint.Rules() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s (%s)\n", r.ID, r.Name, r.Severity, r.Looks, strings.TrimSuffix(r.Says, "."), r.Source)
	}
	return w.Flush()
}
