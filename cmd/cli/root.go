package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// program is one run of the command line.
type program struct {
	app App
	env Env

	// Flags of every command.
	siteName, stateFlag string

	mu   sync.Mutex
	sink pipelines.Sink // of the run that is on, for announce
}

// announce says something while a renderer may own the terminal.
func (p *program) announce(text string) {
	p.mu.Lock()
	sink := p.sink
	p.mu.Unlock()
	if sink != nil {
		sink(pipelines.Event{Kind: pipelines.EventWarning, Text: text})
		return
	}
	fmt.Fprintf(p.env.Stderr, "%s: %s\n", p.app.name(), text)
}

func (p *program) setSink(s pipelines.Sink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sink = s
}

func (p *program) execute(ctx context.Context, args []string) error {
	root := p.root()
	root.SetArgs(args)
	root.SetOut(p.env.Stdout)
	root.SetErr(p.env.Stderr)
	return root.ExecuteContext(ctx)
}

func (p *program) root() *cobra.Command {
	name := p.app.name()
	root := &cobra.Command{
		Use:   name,
		Short: "build operating system base images from typed Go definitions",
		Long: "Builds operating system base images from typed Go definitions: bootstrapped from package\n" +
			"mirrors, without a daemon and without root, for several processor architectures.\n\n" +
			"Exit codes:\n" + ExitCodes,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return p.unknown("command", args[0], commandNames(cmd), name+" --help lists the commands")
		},
	}
	root.PersistentFlags().StringVar(&p.siteName, "site", "", "mirrors, CAs and registries: "+strings.Join(site.Names(), ", ")+" or a TOML `NAME|FILE`\n"+
		"(default $CFBUILD_SITE, else ./cfbuild.toml, else public)")
	root.PersistentFlags().StringVar(&p.stateFlag, "state-dir", "", "`DIR` of downloads, artifacts and caches\n"+
		"(default $CFBUILD_STATE_DIR, else the user's cache directory)")
	root.SetFlagErrorFunc(p.flagError)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(p.runCommand(), p.listCommand(), p.showCommand(), p.planCommand(), p.doctorCommand(),
		p.cacheCommand(), p.versionCommand(), p.initCommand(),
		&cobra.Command{Use: "exit-codes", Short: "what the exit codes mean", Long: "Exit codes:\n" + ExitCodes})
	_ = root.RegisterFlagCompletionFunc("site", p.completeSites)
	root.AddCommand(p.siteCommand(), p.tagsCommand(), p.testCommand(), p.lintCommand(), p.sifCommand(), p.packagesCommand(), p.workersCommand())
	return root
}

func commandNames(cmd *cobra.Command) []string {
	out := []string{"help", "completion"}
	for _, c := range cmd.Commands() {
		out = append(out, c.Name())
	}
	return out
}

// unknown is the usage error for a name that is not there, with the nearest ones.
func (p *program) unknown(what, name string, names []string, fix string) error {
	if near := pipelines.Nearest(name, names, 3); len(near) > 0 {
		fix = "did you mean " + strings.Join(near, ", ") + "? " + fix
	}
	return usagef(fix, "%s %q: is unknown", what, name)
}

// flagError words pflag's errors as ours.
func (p *program) flagError(cmd *cobra.Command, err error) error {
	help := cmd.CommandPath() + " --help lists the flags"
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		cause := value.Unwrap()
		fix := help
		if h, ok := cause.(interface{ Hint() string }); ok {
			fix = h.Hint()
		}
		text := cause.Error()
		if strings.HasPrefix(text, "strconv.") || strings.HasPrefix(text, "time: ") {
			text = "is not a " + map[string]string{"int": "number", "duration": "duration such as 24h or 30s"}[value.GetFlag().Value.Type()]
		}
		return usagef(fix, "--%s %q: %s", value.GetFlag().Name, value.GetValue(), text)
	}
	var missing *pflag.NotExistError
	if errors.As(err, &missing) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		given := missing.GetSpecifiedName()
		if len(given) == 1 {
			return usagef(help, "flag -%s: is unknown", given)
		}
		if near := pipelines.Nearest(given, names, 3); len(near) > 0 {
			help = "did you mean --" + strings.Join(near, ", --") + "? " + help
		}
		return usagef(help, "flag --%s: is unknown", given)
	}
	var lacks *pflag.ValueRequiredError
	if errors.As(err, &lacks) {
		return usagef(help, "flag --%s: needs a value", lacks.GetSpecifiedName())
	}
	return usagef(help, "flags: %w", err)
}

// needTargets and noArgs say how many arguments a command takes.
func (p *program) needTargets(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least {
			return usagef(p.app.name()+" list shows all targets", "%s: names no target", cmd.CommandPath())
		}
		if most > 0 && len(args) > most {
			return usagef("", "%s: takes one target, not %d", cmd.CommandPath(), len(args))
		}
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(cmd.CommandPath()+" --help", "%s: takes no argument, but was given %q", cmd.CommandPath(), args[0])
	}
	return nil
}
