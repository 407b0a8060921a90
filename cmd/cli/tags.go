package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/publishers/tags"
	"github.com/spf13/cobra"
)

func (p *program) tagsCommand() *cobra.Command {
	var given []string
	var push string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tags [TARGET…]",
		Short: "tell which tags a run here would push with, and why",
		Long: "Tells what run --tag would make of the checkout in this directory or of the GitLab job: names\n" +
			"are taken as they are, words are rules (=WORD is the name):\n\n" +
			"  auto         in GitLab the git tag or branch, and latest on the default branch; else latest\n" +
			"  semver       of the git tag v1.2.3: 1.2.3, 1.2, 1 and latest; of a pre-release itself alone\n" +
			"  commit       the first eight digits of the commit; commit-long: all of them\n" +
			"  date         the day of this run, 20060102; commit-date: the day of the commit\n" +
			"  channel      stable, the kind of a pre-release (rc), edge on the default branch, else the\n" +
			"               branch, mr-N in a merge request\n" +
			"  ref          the git tag or branch\n\n" +
			"Tags that move from release to release (1.2, 1, latest, stable) never move backwards: they are\n" +
			"held where a later release is among the repository's tags, and where those are not all known.",
		Example: fmt.Sprintf("  %[1]s tags --tag semver,commit\n  %[1]s tags debian12 --tag channel --push registry.example.org/base/debian12", p.app.name()),
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: p.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error { return p.tellTags(given, push, asJSON, args) },
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&given, "tag", nil, "`T,…` as for run (default auto)")
	fl.StringVar(&push, "push", "auto", "`auto|never|REF` as for run")
	fl.BoolVar(&asJSON, "json", false, "print one JSON document")
	_ = cmd.RegisterFlagCompletionFunc("tag", p.completeTags)
	return cmd
}

// tagsReport is the JSON document of tags --json.
type tagsReport struct {
	Version int `json:"version"` // of this form, 1
	tags.Decision
	// Refs are what would be pushed, by target.
	Refs map[string][]string `json:"refs"`
}

func (p *program) tellTags(given []string, push string, asJSON bool, names []string) error {
	var ts []pipelines.Target
	if len(names) > 0 {
		_, pl, err := p.load()
		if err != nil {
			return err
		}
		if ts, err = p.targets(pl, names); err != nil {
			return err
		}
	}
	repos, fromRef, err := p.destination(push, ts)
	if err != nil {
		return err
	}
	d, err := p.decideTags(given, fromRef)
	if err != nil {
		return err
	}
	out := tagsReport{1, d, map[string][]string{}}
	for _, t := range ts {
		for _, name := range d.Names() {
			if repos[t.Name] != "" {
				out.Refs[t.Name] = append(out.Refs[t.Name], repos[t.Name]+":"+name)
			}
		}
	}
	if asJSON {
		return writeJSON(p.env.Stdout, out)
	}
	w := tabwriter.NewWriter(p.env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TAG\tFROM\tWHY")
	for _, t := range d.Tags {
		from := string(t.Word)
		if from == "" {
			from = "name"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", t.Name, from, t.Why)
	}
	for _, h := range d.Held {
		fmt.Fprintf(w, "-\t%s\t%s\n", h.Word, heldText(h))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range ts {
		for _, ref := range out.Refs[t.Name] {
			fmt.Fprintf(p.env.Stdout, "%s: %s\n", t.Name, ref)
		}
	}
	return nil
}

func heldText(h tags.Held) string {
	s := h.Why
	if h.Name != "" {
		s = h.Name + " is held: " + s
	}
	if h.Fix != "" {
		s += " (" + h.Fix + ")"
	}
	return s
}

// tellHeld says which tags are not pushed that the policy has words for.
func (r *request) tellHeld(sink pipelines.Sink) {
	if len(r.repos) == 0 {
		return
	}
	for _, h := range r.tags.Held {
		kind := pipelines.EventNote
		if h.Name != "" {
			kind = pipelines.EventWarning
		}
		sink.Send(pipelines.Event{Kind: kind, Text: "tags: " + string(h.Word) + ": " + heldText(h)})
	}
}

// decideTags gives what is pushed its names: --tag, the tag of REF, else auto.
func (p *program) decideTags(given []string, fromRef string) (tags.Decision, error) {
	policy, err := tags.Parse(given)
	if err == nil && fromRef != "" {
		policy = slices.Concat(policy, tags.Literal(fromRef))
	}
	if err == nil && len(policy) == 0 {
		policy, err = tags.Parse([]string{string(tags.Auto)})
	}
	var d tags.Decision
	if err == nil {
		var f tags.Facts
		if f, err = p.sourceFacts(policy.NeedsGit()); err == nil {
			d, err = policy.Decide(f)
		}
	}
	if te, ok := err.(*tags.Error); ok {
		err = usagef(te.Fix, "--tag %q: %s", te.Word, te.Cause)
	}
	return d, err
}

// completeTags lists the words of a policy.
func (p *program) completeTags(_ *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := toComplete[:strings.LastIndexByte(toComplete, ',')+1]
	var out []cobra.Completion
	for _, w := range tags.Words() {
		out = append(out, before+string(w))
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
