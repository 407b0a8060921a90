package site

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
)

// subjectName is what a certificate calls itself.
func subjectName(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return c.Subject.CommonName
	case len(c.Subject.OrganizationalUnit) > 0:
		return c.Subject.OrganizationalUnit[0]
	case len(c.Subject.Organization) > 0:
		return c.Subject.Organization[0]
	}
	return "ca"
}

// safeName makes a file name of letters, digits, '.', '_' and '-' that does not
// begin with a dot or dash.
func safeName(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_', r == '-':
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	out := b.String()
	for strings.Contains(out, "--") {
		out = strings.ReplaceAll(out, "--", "-")
	}
	out = strings.Trim(out, ".-")
	if out == "" {
		return "ca"
	}
	return out
}

// addCAs appends certificates that are not there yet, under unique names. A
// certificate that is there for one use and is added for another has both.
func addCAs(have, more []Certificate) []Certificate {
	out := append([]Certificate(nil), have...)
next:
	for _, c := range more {
		taken := map[string]bool{}
		for i, h := range out {
			if bytes.Equal(h.PEM, c.PEM) {
				out[i].BuildOnly = h.BuildOnly && c.BuildOnly
				out[i].ImageOnly = h.ImageOnly && c.ImageOnly
				continue next
			}
			// Names are compared without case: some file systems do.
			taken[strings.ToLower(h.Name)] = true
		}
		name := c.Name
		for n := 2; taken[strings.ToLower(name)]; n++ {
			name = fmt.Sprintf("%s-%d", c.Name, n)
		}
		c.Name = name
		out = append(out, c)
	}
	return out
}
