package common

import (
	"fmt"
	"strings"

	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/site"
)

// Store is where a family of distributions keeps certificate authorities, and what
// makes the bundle that programs read.
type Store struct {
	// Anchors is the directory of the administrator's authorities, which packages
	// never touch; Ending is what file names in it end in, ".crt".
	Anchors, Ending string
	// Bundle is the merged bundle that programs read.
	Bundle string
	// Update is the command of the package ca-certificates that makes the bundle
	// of the public roots and the anchors; its first word is the program.
	Update string
	// Hashed says that the directory of the bundle is one that OpenSSL looks in by
	// hashed names (CApath).
	Hashed bool
	// Where the package is not installed: further directories that are made,
	// script lines before and after, and other files that are bundles too.
	Dirs          []string
	Before, After string
	Others        []string
}

// Files are the anchors and what [ClientTrust] has. As files they are there before
// any command runs.
func (s Store) Files(cas []site.Certificate) []pipelines.File {
	var out []pipelines.File
	for _, c := range cas {
		out = append(out, pipelines.File{Path: s.anchor(c), Data: c.PEM})
	}
	clients, _ := ClientTrust(cas, s.Bundle)
	return append(out, clients...)
}

// Env are the variables of [ClientTrust].
func (s Store) Env(cas []site.Certificate) map[string]string {
	_, env := ClientTrust(cas, s.Bundle)
	return env
}

func (s Store) anchor(c site.Certificate) string { return s.Anchors + "/" + c.Name + s.Ending }

// Merge puts the anchors into the bundle, without a network: with the distribution's
// own program where it is installed; else the authorities are added to the bundle
// that is there, or become one of their own. Nothing for no authorities.
func (s Store) Merge(cas []site.Certificate) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		if len(cas) == 0 {
			return img
		}
		var names []string
		for _, c := range cas {
			names = append(names, c.Name)
		}
		return img.Then(pipelines.Run{Name: "trust " + strings.Join(names, ", "), Shell: s.script(cas), Network: pipelines.NetworkNone})
	}
}

func (s Store) script(cas []site.Certificate) string {
	var b strings.Builder
	program, _, _ := strings.Cut(s.Update, " ")
	fmt.Fprintf(&b, "set -eu\nif [ -x %s ]; then\n\texec %s\nfi\n", program, s.Update)
	fmt.Fprintf(&b, "bundle=%s\nmkdir -p %s\n%s", s.Bundle, strings.Join(append([]string{`"${bundle%/*}"`}, s.Dirs...), " "), s.Before)
	links := Links(cas)
	for i, c := range cas {
		if s.Hashed && links[i] != "" { // as the distribution's program makes them
			fmt.Fprintf(&b, "ln -sfn %s \"${bundle%%/*}/%s\"\n", s.anchor(c), links[i])
		}
		if len(s.Others) == 0 {
			fmt.Fprintf(&b, "grep -qsF '%s' \"$bundle\" || cat %s >> \"$bundle\"\n", telling(c.PEM), s.anchor(c))
		} else {
			fmt.Fprintf(&b, "for f in \"$bundle\" %s; do grep -qsF '%s' \"$f\" || cat %s >> \"$f\"; done\n", strings.Join(s.Others, " "), telling(c.PEM), s.anchor(c))
		}
	}
	b.WriteString("chmod 0644 \"$bundle\"\n" + s.After)
	return b.String()
}

// Trust makes an image trust authorities, and says so in its labels; nothing for
// none.
func (s Store) Trust(cas []site.Certificate) func(pipelines.Image) pipelines.Image {
	return func(img pipelines.Image) pipelines.Image {
		for _, f := range s.Files(cas) {
			img = img.Then(f)
		}
		return img.With(s.Merge(cas), Env(s.Env(cas)), Labels(CALabels(cas)))
	}
}

// telling is a line of a certificate that no other has: the last whole one of its
// base64 text, which is part of the signature.
func telling(pem []byte) string {
	last := ""
	for line := range strings.Lines(string(pem)) {
		if line = strings.TrimSpace(line); len(line) == 64 {
			last = line
		}
	}
	return last
}
