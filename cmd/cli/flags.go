package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/spf13/cobra"
)

// choice is a flag with a closed set of values.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.allowed, "|") }

func (c *choice) Set(s string) error {
	if err := among(s, c.allowed); err != nil {
		return err
	}
	c.value = s
	return nil
}

// choices is a comma-separated list of a closed set.
type choices struct {
	values, allowed []string
	changed         bool
}

func (c *choices) String() string { return strings.Join(c.values, ",") }
func (c *choices) Type() string   { return strings.Join(c.allowed, ",") }

func (c *choices) Set(s string) error {
	if !c.changed {
		c.values, c.changed = nil, true
	}
	for _, v := range strings.Split(s, ",") {
		if err := among(v, c.allowed); err != nil {
			if v != s {
				return &hintError{fmt.Errorf("%q %w", v, err), strings.Join(findHints(err), " ")}
			}
			return err
		}
		if !slices.Contains(c.values, v) {
			c.values = append(c.values, v)
		}
	}
	return nil
}

func among(s string, allowed []string) error {
	if slices.Contains(allowed, s) {
		return nil
	}
	cause := "is not one of " + strings.Join(allowed, ", ")
	if !strings.Contains(s, ",") && s != "" && len(allowed) > 0 {
		if near := pipelines.Nearest(s, allowed, 1); len(near) > 0 {
			return &hintError{fmt.Errorf("%s", cause), "did you mean " + near[0] + "?"}
		}
	}
	return fmt.Errorf("%s", cause)
}

// choiceFlag adds a flag with a closed set of values, the first the default.
func choiceFlag(cmd *cobra.Command, name, usage string, allowed ...string) *choice {
	c := &choice{value: allowed[0], allowed: allowed}
	cmd.Flags().Var(c, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return allowed, cobra.ShellCompDirectiveNoFileComp
	})
	return c
}
