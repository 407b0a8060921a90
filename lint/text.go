package lint

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes the report for people: by image and author's line, worst first.
func (r Report) WriteText(w io.Writer, p Paths) error {
	var b strings.Builder
	for n, name := range names(r.Images) {
		if n > 0 {
			b.WriteString("\n")
		}
		b.WriteString(name.head + "\n")
		place := ""
		none := true
		for _, f := range r.byPlace(name.image, p) {
			none = false
			if f.place != place {
				fmt.Fprintf(&b, "  %s\n", or(f.place, "(no line)"))
			}
			place = f.place
			fmt.Fprintf(&b, "  %-7s %s %s: %s\n", f.Severity, f.Rule, f.Name, f.Message)
			if at := f.made(len(name.platforms)); at != "" {
				fmt.Fprintf(&b, "          %s\n", at)
			}
			fmt.Fprintf(&b, "          fix: %s [%s]\n", f.Fix, f.Source)
		}
		if none {
			b.WriteString("  nothing is found\n")
		}
	}
	for _, i := range r.Ignored {
		fmt.Fprintf(&b, "ignored: %s %s %s: %s\n", i.Image, i.Rule, i.Subject, or(i.By.Why, i.By.From))
	}
	for _, i := range r.Unused {
		fmt.Fprintf(&b, "note: %s ignores %s, which nothing was found by\n", i.From, strings.TrimSuffix(i.Rule+":"+i.Subject, ":"))
	}
	fmt.Fprintf(&b, "%s\n", r.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// named is an image with its platforms in a heading.
type named struct {
	image, head string
	platforms   []string
}

func names(subjects []Subject) []named {
	var out []named
	for _, s := range subjects {
		if len(out) == 0 || out[len(out)-1].image != s.Image {
			out = append(out, named{image: s.Image})
		}
		if s.Platform.OS != "" {
			at := &out[len(out)-1]
			at.platforms = append(at.platforms, s.Platform.String())
		}
	}
	for i := range out {
		out[i].head = out[i].image
		if len(out[i].platforms) > 0 {
			out[i].head += " for " + strings.Join(out[i].platforms, ", ")
		}
	}
	return out
}

// placed is a finding with its author's line.
type placed struct {
	Finding
	place string
}

// byPlace gives an image's findings, those of one line together, in the order of the
// worst of each.
func (r Report) byPlace(image string, p Paths) []placed {
	var order []string
	groups := map[string][]placed{}
	for _, f := range r.Findings {
		if f.Image != image {
			continue
		}
		place := ""
		if f.Where.File != "" {
			place = fmt.Sprintf("%s:%d", p.relative(f.Where), f.Where.Line)
		}
		if groups[place] == nil {
			order = append(order, place)
		}
		groups[place] = append(groups[place], placed{f, place})
	}
	var out []placed
	for _, place := range order {
		out = append(out, groups[place]...)
	}
	return out
}

// made says what a finding comes from: the step, the layer, and which of an image's
// platforms have it where not all do.
func (f Finding) made(platforms int) string {
	var out []string
	if f.Step != "" {
		out = append(out, "step: "+oneLine(f.Step))
	}
	if f.Layer != "" {
		d := strings.TrimPrefix(f.Layer, "sha256:")
		out = append(out, "layer "+d[:min(12, len(d))])
	}
	if len(f.Platforms) > 0 && len(f.Platforms) < platforms {
		var names []string
		for _, p := range f.Platforms {
			names = append(names, p.String())
		}
		out = append(out, "on "+strings.Join(names, ", ")+" only")
	}
	return strings.Join(out, "; ")
}
