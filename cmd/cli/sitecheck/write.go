package sitecheck

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Write prints the result for a person.
func (r Result) Write(w io.Writer) error {
	var b strings.Builder
	said := map[string]bool{} // each fix is told once
	line := func(s Status, text, fix string) {
		mark := map[Status]string{OK: "ok  ", Warning: "warn", Failed: "FAIL"}[s]
		fmt.Fprintf(&b, "    %s  %s\n", mark, strings.ReplaceAll(text, "\n", "\n          "))
		if fix != "" && !said[fix] {
			fmt.Fprintf(&b, "          > %s\n", fix)
			said[fix] = true
		}
	}
	for _, section := range []struct {
		title  string
		groups []Group
	}{{"package mirrors", r.Repositories}, {"language indexes", r.Indexes}, {"registries", r.Registries}} {
		if len(section.groups) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", section.title)
		for _, g := range section.groups {
			fmt.Fprintf(&b, "  %s", g.Name)
			switch {
			case g.Probed != "" && g.Because != "":
				fmt.Fprintf(&b, " (%s; %s)", g.Probed, g.Because)
			case g.Probed != "":
				fmt.Fprintf(&b, " (%s)", g.Probed)
			}
			b.WriteByte('\n')
			for _, m := range g.Mirrors {
				line(m.Status, m.URL+": "+m.text(), m.Fix)
			}
		}
	}
	for _, section := range []struct {
		title  string
		checks []Check
	}{{"proxies", r.Proxies}, {"certificate authorities", r.CAs}} {
		if len(section.checks) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", section.title)
		for _, c := range section.checks {
			line(c.Status, c.Name+": "+c.Text, c.Fix)
		}
	}
	usable, all := r.Usable()
	fmt.Fprintf(&b, "\n%d of %d can be used.", usable, all)
	if without := r.Without(); len(without) > 0 {
		fmt.Fprintf(&b, " Without a usable mirror: %s.", strings.Join(without, ", "))
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

// text joins what is known of a mirror, what is wrong first.
func (m Mirror) text() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if m.Problem != "" {
		add("%s", m.Problem)
	}
	if m.Answer != "" {
		add("%s", m.Answer)
	}
	if m.Date != nil {
		verb := "made"
		if m.Signature == "verified" {
			verb = "signed"
		}
		behind := ""
		if m.BehindSeconds > 0 && !strings.HasPrefix(m.Problem, "stale") {
			behind = ", " + durationText(time.Duration(m.BehindSeconds)*time.Second) + " behind"
		}
		add("%s %s%s", verb, m.Date.Format("2006-01-02 15:04 UTC"), behind)
	}
	if m.Signature != "" && m.Signature != "verified" {
		add("%s", map[string]string{"no key known": "signed, by a key that is not known here"}[m.Signature]+map[string]string{"not signed": "index not signed"}[m.Signature])
	}
	if m.IndexBytes > 0 && m.Status != Failed && !strings.HasPrefix(m.Problem, "slow") {
		add("%s/s over %s", bytesText(m.BytesPerSecond), bytesText(m.IndexBytes))
	} else if m.BytesPerSecond > 0 && m.Status != Failed {
		add("%s/s", bytesText(m.BytesPerSecond))
	}
	if m.Package != "" {
		add("%s is right", m.Package)
	}
	if m.Use != "both" && m.Use != "" {
		add("%s", m.Use)
	}
	return strings.Join(parts, "; ")
}

func bytesText(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}

func durationText(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
	if d >= time.Hour {
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	return fmt.Sprintf("%d minutes", int(d/time.Minute))
}
