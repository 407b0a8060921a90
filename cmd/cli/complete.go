package cli

import (
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/spf13/cobra"
)

func (p *program) completeTargets(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	_, pl, err := p.load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []cobra.Completion
	for _, t := range pl.Targets {
		if !contains(given, t.Name) {
			out = append(out, cobra.CompletionWithDesc(t.Name, t.Description))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeSites offers the built-ins; the shell adds TOML files.
func (p *program) completeSites(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var out []cobra.Completion
	for _, n := range site.Names() {
		if strings.HasPrefix(n, word) {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		return []cobra.Completion{"toml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	return out, cobra.ShellCompDirectiveDefault
}

func (p *program) completeBuilders(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	out := []cobra.Completion{"auto"}
	for _, b := range p.app.Backends {
		out = append(out, cobra.CompletionWithDesc(b.Name, b.Describe))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completePlatforms completes the last word of a list.
func completePlatforms(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := ""
	if i := strings.LastIndexByte(word, ','); i >= 0 {
		before = word[:i+1]
	}
	var out []cobra.Completion
	if before == "" {
		out = append(out, "host", "all")
	}
	for _, a := range pipelines.KnownArchitectures() {
		out = append(out, before+"linux/"+a)
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
