package site

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Description is a site for people and programs to read: certificates by what they
// are, no credentials, no key material. It marshals to JSON.
type Description struct {
	Name       string              `json:"name"`
	Mirrors    map[string][]string `json:"mirrors"`
	Indexes    map[string][]string `json:"indexes,omitempty"`
	BuildOnly  []string            `json:"build_only,omitempty"` // mirrors and indexes not written into images
	ImageOnly  []string            `json:"image_only,omitempty"` // mirrors and indexes not used while building
	CAs        []DescribedCA       `json:"ca,omitempty"`
	Keyrings   map[string]string   `json:"keyrings,omitempty"` // repository: "adds 3 kB"
	Registries []DescribedRegistry `json:"registries,omitempty"`
	Proxy      map[string]string   `json:"proxy,omitempty"`
	Notes      []string            `json:"notes,omitempty"`
}

// DescribedCA is one certificate authority.
type DescribedCA struct {
	Name     string `json:"name"`
	Subject  string `json:"subject"`
	NotAfter string `json:"not_after"` // YYYY-MM-DD, UTC
	SHA256   string `json:"sha256"`    // of the DER form, hexadecimal
	Mode     string `json:"mode"`      // "both", "build-only" or "baked"
}

// DescribedRegistry is how references of one prefix are pulled.
type DescribedRegistry struct {
	Prefix   string   `json:"prefix"`
	Location string   `json:"location,omitempty"`
	Insecure bool     `json:"insecure,omitempty"`
	Mirrors  []string `json:"mirrors,omitempty"`
}

// Describe gives the site for reading.
func (s Site) Describe() Description {
	d := Description{Name: s.Name, Mirrors: map[string][]string{}, Notes: s.Notes}
	for _, repo := range slices.Sorted(maps.Keys(s.Mirrors)) {
		d.Mirrors[repo] = d.urls(s.Mirrors[repo])
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Indexes)) {
		if d.Indexes == nil {
			d.Indexes = map[string][]string{}
		}
		d.Indexes[kind] = d.urls(s.Indexes[kind])
	}
	for _, c := range s.CAs {
		e := DescribedCA{Name: c.Name, Mode: c.Mode()}
		if p, _ := pem.Decode(c.PEM); p != nil {
			sum := sha256.Sum256(p.Bytes)
			e.SHA256 = hex.EncodeToString(sum[:])
			if x, err := x509.ParseCertificate(p.Bytes); err == nil {
				e.Subject, e.NotAfter = x.Subject.String(), x.NotAfter.UTC().Format("2006-01-02")
			}
		}
		d.CAs = append(d.CAs, e)
	}
	for repo, k := range s.Keyrings {
		if d.Keyrings == nil {
			d.Keyrings = map[string]string{}
		}
		verb := "adds"
		if k.Replace {
			verb = "replaces the built-in keys by"
		}
		d.Keyrings[repo] = fmt.Sprintf("%s %d bytes", verb, len(k.Keys))
		if k.BuildOnly {
			d.Keyrings[repo] += " (build only)"
		}
	}
	for _, r := range s.Registries {
		e := DescribedRegistry{Prefix: r.Prefix, Location: r.Location, Insecure: r.Insecure}
		for _, m := range r.Mirrors {
			l := m.Location
			if m.Insecure {
				l += " (insecure)"
			}
			e.Mirrors = append(e.Mirrors, l)
		}
		d.Registries = append(d.Registries, e)
	}
	for k, v := range map[string]string{"http": s.Proxy.HTTP, "https": s.Proxy.HTTPS, "no": s.Proxy.No} {
		if v == "" {
			continue
		}
		if d.Proxy == nil {
			d.Proxy = map[string]string{}
		}
		d.Proxy[k] = redact(v)
	}
	return d
}

// urls gives mirrors for reading and notes which are not for all uses.
func (d *Description) urls(list []Mirror) []string {
	var out []string
	for _, m := range list {
		u := redact(m.URL)
		out = append(out, u)
		if m.BuildOnly && !slices.Contains(d.BuildOnly, u) {
			d.BuildOnly = append(d.BuildOnly, u)
		}
		if m.ImageOnly && !slices.Contains(d.ImageOnly, u) {
			d.ImageOnly = append(d.ImageOnly, u)
		}
	}
	return out
}

// Mode is what the certificate is used for: "both", "build-only" or "baked".
func (c Certificate) Mode() string {
	for mode, use := range caModes() {
		if use == (caUse{c.BuildOnly, c.ImageOnly}) {
			return mode
		}
	}
	return "none" // both flags at once, which Check refuses
}

// Show writes the site for a person. Credentials are left out.
func (s Site) Show(w io.Writer) error {
	d := s.Describe()
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "site %s\n", d.Name)
	section := func(title string, n int) {
		if n > 0 {
			fmt.Fprintf(t, "\n%s\n", title)
		}
	}
	lists := func(title string, urls map[string][]string, of map[string][]Mirror) {
		section(title, len(urls))
		for _, name := range slices.Sorted(maps.Keys(urls)) {
			for i, u := range urls[name] {
				label := name
				if i > 0 {
					label = ""
				}
				fmt.Fprintf(t, "  %s\t%s%s\n", label, u, mark(of[name][i].BuildOnly, of[name][i].ImageOnly, "image only"))
			}
		}
	}
	lists("package mirrors, the preferred first", d.Mirrors, s.Mirrors)
	lists("language indexes, the preferred first", d.Indexes, s.Indexes)
	section("certificate authorities besides the public roots", len(d.CAs))
	for i, c := range d.CAs {
		fmt.Fprintf(t, "  %s\t%s\tuntil %s\tsha256 %.16s%s\n", c.Name, c.Subject, c.NotAfter, c.SHA256, mark(s.CAs[i].BuildOnly, s.CAs[i].ImageOnly, "baked: not trusted while building"))
	}
	section("archive keys", len(d.Keyrings))
	for _, repo := range slices.Sorted(maps.Keys(d.Keyrings)) {
		fmt.Fprintf(t, "  %s\t%s\n", repo, d.Keyrings[repo])
	}
	section("registries", len(d.Registries))
	for _, r := range d.Registries {
		origin := cmp.Or(r.Location, r.Prefix)
		if r.Insecure {
			origin += " (insecure)"
		}
		from := strings.Join(append(slices.Clone(r.Mirrors), origin), ", then ")
		fmt.Fprintf(t, "  %s\tfrom %s\n", r.Prefix, from)
	}
	section("proxies", len(d.Proxy))
	for _, k := range slices.Sorted(maps.Keys(d.Proxy)) {
		fmt.Fprintf(t, "  %s\t%s\n", k, d.Proxy[k])
	}
	section("left out", len(d.Notes))
	for _, n := range d.Notes {
		fmt.Fprintf(t, "  %s\n", n)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func mark(buildOnly, imageOnly bool, image string) string {
	switch {
	case buildOnly:
		return "  (build only)"
	case imageOnly:
		return "  (" + image + ")"
	}
	return ""
}
