package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxControl bounds an unpacked control.tar, in bytes.
const maxControl = 64 << 20

// member is a file of control.tar, kept for dpkg's info directory.
type member struct {
	name  string
	mode  int64
	mtime int64
	data  []byte
}

// control is what control.tar holds.
type control struct {
	fields    []field
	members   []member // without control and conffiles' parsed form, sorted by name
	conffiles []conffile
	triggers  []trigger
}

// field of a deb822 stanza; value holds continuation lines with their newlines
// and leading blanks, as written.
type field struct{ name, value string }

type conffile struct {
	path            string // absolute
	removeOnUpgrade bool
}

// trigger is one line of a triggers file that declares interest.
type trigger struct {
	name    string
	noawait bool
}

func (c *control) get(name string) string {
	for _, f := range c.fields {
		if strings.EqualFold(f.name, name) {
			return strings.TrimSpace(f.value)
		}
	}
	return ""
}

func (c *control) member(name string) *member {
	i := slices.IndexFunc(c.members, func(m member) bool { return m.name == name })
	if i < 0 {
		return nil
	}
	return &c.members[i]
}

// readControl reads a control.tar.
func readControl(r io.Reader, name string) (*control, error) {
	c := &control{}
	tr := tar.NewReader(limit(r, maxControl, name))
	var stanza []byte
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, damaged(name, err)
		}
		base := path.Clean(h.Name)
		if h.Typeflag == tar.TypeDir && (base == "." || base == "/") {
			continue
		}
		if !isRegular(h) {
			return nil, refuse(h.Name, "is not a regular file in %s", name)
		}
		if base == ".." || strings.Contains(base, "/") || strings.HasPrefix(h.Name, "/") {
			return nil, refuse(h.Name, "is a path outside of %s", name)
		}
		if base == "control" && stanza != nil || c.member(base) != nil {
			return nil, refuse(h.Name, "is twice in %s", name)
		}
		if h.Size > maxControl {
			return nil, refuse(h.Name, "is %d MiB large", h.Size>>20)
		}
		data := make([]byte, h.Size)
		if _, err := io.ReadFull(tr, data); err != nil {
			return nil, damaged(name, err)
		}
		if base == "control" {
			stanza = data
			continue
		}
		// What dpkg takes from control.tar into info/ has such names.
		if strings.Trim(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_.") != "" || base == "list" {
			return nil, refuse(h.Name, "is not a name for a control file")
		}
		c.members = append(c.members, member{base, h.Mode & 0o7777, h.ModTime.Unix(), data})
	}
	if stanza == nil {
		return nil, refuse(name, "holds no control file")
	}
	slices.SortFunc(c.members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	var err error
	if c.fields, err = parseStanza(string(stanza)); err != nil {
		return nil, err
	}
	if m := c.member("conffiles"); m != nil {
		c.conffiles = parseConffiles(string(m.data))
	}
	if m := c.member("triggers"); m != nil {
		c.triggers = parseTriggers(string(m.data))
	}
	return c, nil
}

// damaged wraps errors of readers, but keeps refusals.
func damaged(name string, err error) error {
	var disk *spoolError
	if errors.Is(err, ErrRefused) || errors.As(err, &disk) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return refuseErr(name, "is damaged", noEOF(err))
}

func isRegular(h *tar.Header) bool {
	return h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse || h.Typeflag == '\x00'
}

// parseStanza reads the one stanza of a control file (deb822(5)).
func parseStanza(s string) ([]field, error) {
	var out []field
	// Blanks at the end of a line are kept, as dpkg keeps them.
	for line := range strings.SplitSeq(strings.TrimRight(s, "\n\t \r"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if len(out) == 0 {
				return nil, refuse("control", "begins with a continuation line")
			}
			out[len(out)-1].value += "\n" + line
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, refuse("control", "has a line without a field name: %q", line)
		}
		if slices.ContainsFunc(out, func(f field) bool { return strings.EqualFold(f.name, name) }) {
			return nil, refuse("control", "has the field %s twice", name)
		}
		out = append(out, field{name, strings.TrimLeft(value, " \t")})
	}
	return out, nil
}

// parseConffiles reads a conffiles file (deb-conffiles(5)).
func parseConffiles(s string) []conffile {
	var out []conffile
	for line := range strings.SplitSeq(s, "\n") {
		line = strings.TrimRight(line, " \t\r")
		rm := false
		if rest, ok := strings.CutPrefix(line, "remove-on-upgrade "); ok {
			line, rm = strings.TrimSpace(rest), true
		}
		if strings.HasPrefix(line, "/") {
			out = append(out, conffile{line, rm})
		}
	}
	return out
}

// parseTriggers reads the interests of a triggers file (deb-triggers(5)).
func parseTriggers(s string) []trigger {
	var out []trigger
	for line := range strings.SplitSeq(s, "\n") {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		switch f[0] {
		case "interest", "interest-await":
			out = append(out, trigger{f[1], false})
		case "interest-noawait":
			out = append(out, trigger{f[1], true})
		}
	}
	return out
}

// installedSize is the Installed-Size field in bytes, 0 where it is missing.
func (c *control) installedSize() int64 {
	n, err := strconv.ParseInt(c.get("Installed-Size"), 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return 0
	}
	return n << 10
}
