package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cfbuild/cfbuild/site"
)

// sighting is the certificate chain one host showed.
type sighting struct {
	host  string
	chain []*x509.Certificate
}

func (w *wire) saw(s tls.ConnectionState) {
	if len(s.PeerCertificates) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.seen, func(x sighting) bool { return x.host == s.ServerName }) {
		w.seen = append(w.seen, sighting{s.ServerName, s.PeerCertificates})
	}
}

// bundles is where systems keep the roots they trust: Debian, Red Hat, SUSE,
// Alpine.
var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}

// publicRoots are the machine's roots without what administrators added.
func (m *machine) publicRoots() *x509.CertPool {
	local := map[string]bool{}
	for _, c := range certificates(m.MachineCAs) {
		local[string(c.Raw)] = true
	}
	pool := x509.NewCertPool()
	for _, b := range bundles {
		data, err := os.ReadFile(m.path(b))
		if err != nil {
			continue
		}
		for _, c := range parsePEM(data) {
			if !local[string(c.Raw)] {
				pool.AddCert(c)
			}
		}
		break
	}
	return pool
}

func certificates(all []site.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range all {
		out = append(out, parsePEM(c.PEM)...)
	}
	return out
}

func parsePEM(data []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			out = append(out, c)
		}
	}
}

func poolOf(cs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range cs {
		p.AddCert(c)
	}
	return p
}

// verifies says whether a chain leads to one of the roots.
func (s sighting) verifies(roots *x509.CertPool, now time.Time) ([]*x509.Certificate, error) {
	mid := poolOf(s.chain[1:])
	chains, err := s.chain[0].Verify(x509.VerifyOptions{DNSName: s.host, Roots: roots, Intermediates: mid, CurrentTime: now})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// report judges what was seen against the public roots, the site's CAs and the
// machine's own.
func (w *wire) report() []Check {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.m.Now()
	var out []Check
	if w.dated && (w.skew > 10*time.Minute || w.skew < -10*time.Minute) {
		out = append(out, Check{Area: areaTrust, Name: "clock", Status: Failed,
			Text: fmt.Sprintf("this machine's clock differs by %s from the servers'; certificates and package indexes are judged by it", w.skew.Round(time.Minute)),
			Fix:  []string{"sudo timedatectl set-ntp true"}})
	}
	public := w.m.publicRoots()
	ours := poolOf(certificates(w.m.Site.BuildCAs()))
	local := poolOf(certificates(w.m.MachineCAs))
	slices.SortFunc(w.seen, func(a, b sighting) int { return strings.Compare(a.host, b.host) })
	for _, s := range w.seen {
		out = append(out, w.judge(s, now, public, ours, local))
	}
	return out
}

func (w *wire) judge(s sighting, now time.Time, public, ours, local *x509.CertPool) Check {
	c := Check{Area: areaTrust, Name: s.host, Status: OK}
	if chain, err := s.verifies(ours, now); err == nil {
		c.Text = "signed by " + named(chain) + ", which the site trusts"
		return c
	}
	chain, err := s.verifies(public, now)
	if err == nil {
		c.Text = "signed by the public root " + named(chain)
		return c
	}
	top := s.chain[len(s.chain)-1]
	if chain, err := s.verifies(local, now); err == nil {
		c.Status = Warning
		c.Text = fmt.Sprintf("signed by %s, which this machine trusts and site %s does not: images would not trust it", named(chain), w.m.Site.Name)
		c.Fix = []string{"to build here: --site host", "to build here and in images: site file: ca = [\"FILE.crt\"]"}
		return c
	}
	c.Status = Failed
	c.Text = fmt.Sprintf("shows a certificate of %q, which neither the public roots nor site %s trust: %v", top.Issuer.String(), w.m.Site.Name, err)
	c.Fix = []string{
		"if that is your organisation's inspecting proxy, get its root certificate from your administrators and name it in the site file: ca = [\"FILE.crt\"]",
		fmt.Sprintf("to see the chain: openssl s_client -showcerts -connect %s:443 -servername %s </dev/null", s.host, s.host),
	}
	return c
}

func named(chain []*x509.Certificate) string {
	root := chain[len(chain)-1]
	if root.Subject.CommonName != "" {
		return fmt.Sprintf("%q", root.Subject.CommonName)
	}
	return fmt.Sprintf("%q", root.Subject.String())
}
