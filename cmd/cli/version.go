package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// modulePath is this module, as other programs import it.
const modulePath = "github.com/cfbuild/cfbuild"

// build is what the program knows of how it was made.
type buildInfo struct {
	Name     string        `json:"name"`
	Version  string        `json:"version"`
	Library  string        `json:"library,omitempty"` // version of this module, when another is main
	Commit   string        `json:"commit,omitempty"`
	Modified bool          `json:"modified,omitempty"`
	Go       string        `json:"go"`
	Platform string        `json:"platform"`
	Cgo      bool          `json:"cgo"`
	Tags     []string      `json:"tags"`
	Backends []backendInfo `json:"backends"`

	module string // path of the main module
}

type backendInfo struct {
	Name string `json:"name"`
	// Missing is why the program was made without it.
	Missing string `json:"missing,omitempty"`
}

func (p *program) buildInfo() buildInfo {
	b := buildInfo{Name: p.app.name(), Version: p.app.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Tags: []string{}}
	if info, ok := debug.ReadBuildInfo(); ok {
		b.module = info.Main.Path
		if b.Version == "" {
			b.Version = info.Main.Version
		}
		for _, d := range info.Deps {
			if d.Path == modulePath {
				b.Library = d.Version
			}
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			case "CGO_ENABLED":
				b.Cgo = s.Value == "1"
			case "-tags":
				b.Tags = strings.FieldsFunc(s.Value, func(r rune) bool { return r == ',' || r == ' ' })
			}
		}
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	for _, k := range p.app.Backends {
		b.Backends = append(b.Backends, backendInfo{k.Name, k.Stub})
	}
	return b
}

func (b buildInfo) write(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s\n", b.Name, b.Version)
	if b.Library != "" {
		fmt.Fprintf(&out, "cfbuild   %s\n", b.Library)
	}
	if b.Commit != "" {
		mod := ""
		if b.Modified {
			mod = " (modified)"
		}
		fmt.Fprintf(&out, "commit    %s%s\n", b.Commit, mod)
	}
	cgo := "no cgo"
	if b.Cgo {
		cgo = "cgo"
	}
	fmt.Fprintf(&out, "go        %s %s %s\n", b.Go, b.Platform, cgo)
	if len(b.Tags) > 0 {
		fmt.Fprintf(&out, "tags      %s\n", strings.Join(b.Tags, " "))
	}
	for i, k := range b.Backends {
		label := "backends"
		if i > 0 {
			label = ""
		}
		line := k.Name
		if k.Missing != "" {
			line += " (left out: " + k.Missing + ")"
		}
		fmt.Fprintf(&out, "%-9s %s\n", label, line)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "show version, commit, Go, build tags and backends",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			b := p.buildInfo()
			if asJSON {
				return writeJSON(p.env.Stdout, b)
			}
			return b.write(p.env.Stdout)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
