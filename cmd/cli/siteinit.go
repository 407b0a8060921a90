package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cfbuild/cfbuild/internal/atomicfile"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
	"github.com/spf13/cobra"
)

func (p *program) siteInitCommand() *cobra.Command {
	var extends string
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "write a commented site file",
		Long: "Writes a site file, by default ./" + siteFile + ", in which every key is explained and commented\n" +
			"out. What this machine uses, its package mirrors, indexes, proxies and the authorities\n" +
			"it trusts beyond the public roots, stands there as comments to choose from. A file that\n" +
			"exists is left alone.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("", "%s: takes one file, not %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			names := append(site.Names(), "none")
			if !slices.Contains(names, extends) {
				fix := "sites to start from are " + strings.Join(names, ", ")
				if near := pipelines.Nearest(extends, names, 1); len(near) > 0 {
					fix = "did you mean " + near[0] + "? " + fix
				}
				return usagef(fix, "--extends %q: is not a built-in site", extends)
			}
			file := siteFile
			if len(args) == 1 {
				file = args[0]
			}
			path := p.env.path(file)
			host, err := site.Load("host", site.LoadOptions{Getenv: p.env.Getenv, Now: p.env.Now()})
			if err != nil {
				return err
			}
			err = writeNew(path, []byte(siteTemplate(p.app.name(), extends, host)))
			if errors.Is(err, fs.ErrExist) {
				return usagef("name another file, or edit that one", "site init: %s: is there already", file)
			}
			if err != nil {
				return fmt.Errorf("site init: %w", err)
			}
			if _, err := fmt.Fprintln(p.env.Stdout, file); err != nil {
				return err
			}
			use := " " + file
			if path == p.env.path(siteFile) {
				use = ""
			}
			fmt.Fprintf(p.env.Stderr, "%[1]s: now: edit it, then %[1]s site check%[2]s\n", p.app.name(), use)
			return nil
		},
	}
	cmd.Flags().StringVar(&extends, "extends", "public", "the built-in `SITE` to start from, or none")
	_ = cmd.RegisterFlagCompletionFunc("extends", cobra.FixedCompletions(append(site.Names(), "none"), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// writeNew writes a file that must not be there: whole or not at all, and never in
// place of another.
func writeNew(path string, data []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".site-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	part := filepath.Join(dir, "part")
	if err := atomicfile.Write(part, data, 0o644); err != nil {
		return err
	}
	// A link, unlike a rename, fails where something appeared meanwhile; not every
	// file system has links.
	if err := os.Link(part, path); errors.Is(err, fs.ErrExist) {
		return err
	} else if err != nil {
		if err := os.Rename(part, path); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// siteTemplate is the text of a new site file. With its comments as they are it is
// the site it extends.
func siteTemplate(program, extends string, host site.Site) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Where packages and images come from at this place, and whom to trust here.")
	line("# %s reads ./%s by itself; another file is given with --site FILE.", program, siteFile)
	line("# %s site show FILE prints what it means, %s site check FILE asks every mirror.", program, program)
	line("")
	line("# The site to start from: %s or none.", strings.Join(site.Names(), ", "))
	line("extends = %q", extends)
	line("")
	line("# Authorities trusted besides the public roots, for example that of an inspecting")
	line("# proxy: PEM files, directories, patterns, a variable (GitLab's type File), or \"host\"")
	line("# for what this machine trusts beyond the public roots. Never private keys.")
	line("#ca = [\"certs/root.pem\", \"Netskope*.pem\", \"$LAB_CA\"]")
	if len(host.CAs) > 0 {
		line("# This machine trusts beyond the public roots:")
		for _, c := range host.Describe().CAs {
			line("#   %s, until %s", oneLine(cmp.Or(c.Subject, c.Name)), c.NotAfter)
		}
		line("#ca = [\"host\"]")
	}
	line("# What they are for: \"both\" (trusted while building and in images), \"build-only\",")
	line("# or \"baked\" (in images alone). An entry may say it for itself:")
	line("#   { file = \"certs/proxy.pem\", mode = \"build-only\" }")
	line("#ca-mode = \"both\"")
	line("")
	line("# Package mirrors, the preferred first; those of the site we extend follow as fall-back.")
	line("# A table says more: { url = \"https://…\", build-only = true } or image-only = true.")
	line("[mirrors]")
	line("#rocky = [\"https://mirror.example.org/rocky\"]")
	machines(line, "apt", host.Mirrors)
	line("")
	line("# Language package indexes, likewise: %s.", strings.Join(site.IndexKinds(), ", "))
	line("[indexes]")
	line("#pypi = [\"https://mirror.example.org/pypi/simple\"]")
	machines(line, "configuration", host.Indexes)
	line("")
	line("# Archive keys besides the distributions' own.")
	line("#[keyrings]")
	line("#debian = { file = \"keys/mirror.asc\", replace = false }")
	line("")
	line("# Registries and their pull-through caches, which are tried first.")
	line("#[[registry]]")
	line("#prefix = \"docker.io\"")
	line("#mirrors = [\"cache.example.org:4567\"]")
	for _, r := range host.Registries {
		line("# This machine's registries.conf has %s from %s.", r.Prefix, strings.Join(places(r), ", then "))
	}
	line("")
	line("# How requests leave. \"$NAME\" reads a variable: the place for a password.")
	line("#[proxy]")
	https := "\"http://proxy.example.org:3128\""
	if host.Proxy.HTTPS != "" {
		https = "\"$https_proxy\" # as this machine has it"
	}
	line("#https = %s", https)
	line("#no = [\"localhost\", \".example.org\"]")
	return b.String()
}

// machines writes what this machine itself uses as comments.
func machines(line func(string, ...any), what string, lists map[string][]site.Mirror) {
	said := false
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		var urls []string
		for _, m := range lists[name] {
			if m.BuildOnly { // the others are the public ones
				urls = append(urls, strconv.Quote(m.URL))
			}
		}
		if len(urls) == 0 {
			continue
		}
		if !said {
			line("# This machine's %s has:", what)
			said = true
		}
		line("#%s = [%s]", name, strings.Join(urls, ", "))
	}
}

func places(r site.Registry) []string {
	var out []string
	for _, m := range r.Mirrors {
		out = append(out, m.Location)
	}
	return append(out, cmp.Or(r.Location, r.Prefix))
}

// oneLine keeps a certificate's subject inside its comment.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
