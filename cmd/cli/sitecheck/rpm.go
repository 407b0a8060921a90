package sitecheck

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha1" //nolint:gosec // old repositories have nothing else
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/cfbuild/cfbuild/internal/httpx"
	"github.com/cfbuild/cfbuild/internal/xz"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// repomd is what repodata/repomd.xml has for us (createrepo_c's format).
type repomd struct {
	XMLName  xml.Name `xml:"repomd"`
	Revision string   `xml:"revision"`
	Data     []struct {
		Type     string `xml:"type,attr"`
		Checksum sum    `xml:"checksum"`
		Location struct {
			Href string `xml:"href,attr"`
		} `xml:"location"`
		Timestamp float64 `xml:"timestamp"`
		Size      int64   `xml:"size"`
	} `xml:"data"`
}

type sum struct {
	Type  string `xml:"type,attr"`
	Value string `xml:",chardata"`
}

// date is that of the newest of its files, else the revision where it is a time.
func (r repomd) date() time.Time {
	newest := 0.0
	for _, d := range r.Data {
		newest = max(newest, d.Timestamp)
	}
	if n, err := strconv.ParseInt(r.Revision, 10, 64); err == nil && newest == 0 && n > 1e9 {
		newest = float64(n)
	}
	if newest == 0 {
		return time.Time{}
	}
	return time.Unix(int64(newest), 0)
}

// rpm reads repomd.xml, its signature where it has one, the primary index and one
// package.
func (c *checker) rpm(ctx context.Context, p Probe, m *Mirror) error {
	base := m.URL + "/" + p.rpmPath()
	data, _, err := c.get(ctx, m, base+"/repodata/repomd.xml", 4<<20)
	if err != nil {
		return err
	}
	var md repomd
	if err := xml.Unmarshal(data, &md); err != nil {
		if webPage(data) {
			return findf(fixInside, "repodata/repomd.xml is a web page")
		}
		return findf(fixBroken, "repodata/repomd.xml cannot be read: %v", err)
	}
	m.dated(md.date())
	if err := c.repomdSignature(ctx, p, m, base, data); err != nil {
		return err
	}
	for _, d := range md.Data {
		if d.Type != "primary" {
			continue
		}
		index, _, err := c.index(ctx, m, base+"/"+d.Location.Href)
		if err != nil {
			return incomplete("index "+d.Location.Href, err)
		}
		if err := d.Checksum.check(index, d.Size); err != nil {
			return findf(fixBroken, "incomplete: index %s: %v", d.Location.Href, err)
		}
		small, err := smallestRPM(path.Ext(d.Location.Href), index)
		if err != nil {
			return findf(fixBroken, "incomplete: index %s: %v", d.Location.Href, err)
		}
		if small.Location.Href == "" {
			m.Answer = "the index is empty"
			return nil
		}
		what := "package " + path.Base(small.Location.Href)
		file, _, err := c.get(ctx, m, base+"/"+small.Location.Href, small.Size.Package+1)
		if err != nil {
			return incomplete(what, err)
		}
		if err := small.Checksum.check(file, small.Size.Package); err != nil {
			return findf(fixBroken, "incomplete: %s: %v", what, err)
		}
		m.Package = path.Base(small.Location.Href)
		return nil
	}
	return findf(fixBroken, "repodata/repomd.xml names no primary index")
}

// incomplete says that something the index names is not to be had.
func incomplete(what string, err error) error {
	var slow *slowError
	if errors.As(err, &slow) || errors.Is(err, context.Canceled) {
		return err
	}
	problem, fix := explain(err)
	if fix == "" || fix == fixPath {
		fix = fixBroken
	}
	return findf(fix, "incomplete: %s: %s", what, problem)
}

// repomdSignature: a signature that is there and wrong makes the mirror useless.
func (c *checker) repomdSignature(ctx context.Context, p Probe, m *Mirror, base string, data []byte) error {
	sig, _, err := c.get(ctx, m, base+"/repodata/repomd.xml.asc", 1<<20)
	var he *httpx.Error
	if errors.As(err, &he) && he.Status != 0 {
		m.Signature = "not signed"
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.Contains(sig, []byte("BEGIN PGP SIGNATURE")) {
		m.Signature = "not signed" // some servers answer a page for what they do not have
		return nil
	}
	keys := c.keys(p)
	var ring openpgp.EntityList
	for _, block := range bytes.SplitAfter(keys, []byte("-----END PGP PUBLIC KEY BLOCK-----")) {
		list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(block))
		if err != nil {
			list, _ = openpgp.ReadKeyRing(bytes.NewReader(block))
		}
		ring = append(ring, list...)
	}
	if len(ring) == 0 {
		m.Signature = "no key known"
		return nil
	}
	conf := &packet.Config{Time: c.in.Now}
	if _, err := openpgp.CheckArmoredDetachedSignature(ring, bytes.NewReader(data), bytes.NewReader(sig), conf); err != nil {
		return findf("if the mirror has a key of its own, add it: [keyrings] "+p.Source.Repository+" = \"FILE\"; otherwise do not use this mirror",
			"repodata/repomd.xml has no good signature by a known key: %v", err)
	}
	m.Signature = "verified"
	return nil
}

// keys are those of the site and the program.
func (c *checker) keys(p Probe) []byte {
	k := c.in.Site.Keyrings[p.Source.Repository]
	if k.Replace {
		return k.Keys
	}
	return append(append(append([]byte{}, k.Keys...), '\n'), c.in.Keys(p.Source.Repository, p.Source.Suite)...)
}

// check compares size and checksum; size 0 is unknown.
func (s sum) check(data []byte, size int64) error {
	if size > 0 && int64(len(data)) != size {
		return fmt.Errorf("it has %d bytes, not the %d that the index says", len(data), size)
	}
	var h hash.Hash
	switch strings.ToLower(s.Type) {
	case "sha256":
		h = sha256.New()
	case "sha512":
		h = sha512.New()
	case "sha384":
		h = sha512.New384()
	case "sha", "sha1":
		h = sha1.New() //nolint:gosec // compared, not trusted
	default:
		return fmt.Errorf("its checksum is of kind %q, which is not known", s.Type)
	}
	h.Write(data)
	if got := hex.EncodeToString(h.Sum(nil)); !strings.EqualFold(got, strings.TrimSpace(s.Value)) {
		return fmt.Errorf("its %s is %.12s…, not the %.12s… that the index says", s.Type, got, strings.TrimSpace(s.Value))
	}
	return nil
}

type rpmPackage struct {
	Checksum sum `xml:"checksum"`
	Size     struct {
		Package int64 `xml:"package,attr"`
	} `xml:"size"`
	Location struct {
		Href string `xml:"href,attr"`
	} `xml:"location"`
}

// smallestRPM reads the first packages of a primary index and gives the smallest.
func smallestRPM(ext string, data []byte) (rpmPackage, error) {
	r, err := unpack(ext, data)
	if err != nil {
		return rpmPackage{}, err
	}
	var small rpmPackage
	dec := xml.NewDecoder(r)
	for n := 0; n < 2000; {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return small, err
		}
		start, is := tok.(xml.StartElement)
		if !is || start.Name.Local != "package" {
			continue
		}
		n++
		var pkg rpmPackage
		if err := dec.DecodeElement(&pkg, &start); err != nil {
			return small, err
		}
		if pkg.Size.Package > 0 && (small.Size.Package == 0 || pkg.Size.Package < small.Size.Package) {
			small = pkg
		}
	}
	return small, nil
}

// maxPlain bounds what an index unpacks to: mirrors are not believed.
const maxPlain = 512 << 20

// unpack reads data by the ending of its name.
func unpack(ext string, data []byte) (io.Reader, error) {
	in := bytes.NewReader(data)
	var out io.Reader = in
	switch ext {
	case ".gz":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		out = z
	case ".zst":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		out = z
	case ".xz":
		z := xz.NewReader(64 << 20)
		if err := z.Reset(bufio.NewReader(in)); err != nil {
			return nil, err
		}
		out = z
	case ".bz2":
		out = bzip2.NewReader(in)
	}
	return io.LimitReader(out, maxPlain), nil
}
