package sitecheck

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // apk's own
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// apk reads APKINDEX.tar.gz, its signature, and one package: gzip members one
// after the other, the first of which holds the RSA signature of the next (apk-tools
// 2, "Apk spec" of the Alpine wiki).
func (c *checker) apk(ctx context.Context, p Probe, m *Mirror) error {
	base := m.URL + "/" + p.apkPath()
	data, _, err := c.index(ctx, m, base+"/APKINDEX.tar.gz")
	if err != nil {
		return err
	}
	if webPage(data) {
		return findf(fixInside, "APKINDEX.tar.gz is a web page")
	}
	members, err := gzipMembers(data)
	if err != nil || len(members) == 0 {
		return findf(fixBroken, "APKINDEX.tar.gz cannot be read: %v", err)
	}
	signed := members[len(members)-1].raw
	if m.Signature, err = c.apkSignature(p, members[0].plain, signed, len(members) > 1); err != nil {
		return err
	}
	var index string
	for _, mem := range members {
		if s, ok := tarFile(mem.plain, "APKINDEX"); ok {
			index = s
		}
	}
	small, newest, err := readAPKIndex(index)
	if err != nil {
		return findf(fixBroken, "APKINDEX.tar.gz: %v", err)
	}
	if newest > 0 {
		m.dated(time.Unix(newest, 0))
	}
	name := small.name + "-" + small.version + ".apk"
	file, _, err := c.get(ctx, m, base+"/"+name, small.size+1)
	if err != nil {
		return incomplete("package "+name, err)
	}
	if err := small.check(file); err != nil {
		return findf(fixBroken, "incomplete: package %s: %v", name, err)
	}
	m.Package = name
	return nil
}

// member is one gzip member of an apk file.
type member struct{ raw, plain []byte }

func gzipMembers(data []byte) ([]member, error) {
	var out []member
	left := int64(maxPlain)
	for len(data) > 0 {
		in := bytes.NewReader(data)
		z, err := gzip.NewReader(in) // a bytes.Reader is read no further than needed
		if err != nil {
			return out, err
		}
		z.Multistream(false)
		plain, err := io.ReadAll(io.LimitReader(z, left+1))
		if err != nil {
			return out, err
		}
		if left -= int64(len(plain)); left < 0 {
			return out, errors.New("it unpacks to more than is sensible")
		}
		n := len(data) - in.Len()
		out = append(out, member{data[:n], plain})
		data = data[n:]
	}
	return out, nil
}

// tarFile finds a file in a tar whose end may be cut off, as apk has it.
func tarFile(data []byte, name string) (string, bool) {
	t := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := t.Next()
		if err != nil {
			return "", false
		}
		if h.Name == name {
			b, err := io.ReadAll(t)
			return string(b), err == nil
		}
	}
}

// apkSignature checks .SIGN.RSA.KEY (SHA-1) or .SIGN.RSA256.KEY against the keys
// that are known.
func (c *checker) apkSignature(p Probe, first, signed []byte, two bool) (string, error) {
	t := tar.NewReader(bytes.NewReader(first))
	h, err := t.Next()
	if err != nil || !two || !strings.HasPrefix(h.Name, ".SIGN.") {
		return "not signed", nil
	}
	sig, err := io.ReadAll(t)
	if err != nil {
		return "", findf(fixBroken, "APKINDEX.tar.gz: its signature cannot be read: %v", err)
	}
	alg := crypto.SHA1
	if strings.HasPrefix(h.Name, ".SIGN.RSA256.") {
		alg = crypto.SHA256
	}
	d := alg.New()
	d.Write(signed)
	digest := d.Sum(nil)
	known := 0
	for rest := c.keys(p); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		pub, is := key.(*rsa.PublicKey)
		if err != nil || !is {
			continue
		}
		known++
		if rsa.VerifyPKCS1v15(pub, alg, digest, sig) == nil {
			return "verified", nil
		}
	}
	if known == 0 {
		return "no key known", nil
	}
	return "", findf("if the mirror has a key of its own, add it: [keyrings] "+p.Source.Repository+" = \"FILE\"; otherwise do not use this mirror",
		"APKINDEX.tar.gz has no good signature by a known key (%s)", h.Name)
}

type apkPackage struct {
	name, version, checksum string
	size                    int64
}

// readAPKIndex gives the smallest package and the newest build time, in seconds
// since 1970.
func readAPKIndex(text string) (small apkPackage, newest int64, err error) {
	var p apkPackage
	take := func() {
		if p.name != "" && p.size > 0 && (small.size == 0 || p.size < small.size) {
			small = p
		}
		p = apkPackage{}
	}
	s := bufio.NewScanner(strings.NewReader(text))
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		key, value, ok := strings.Cut(s.Text(), ":")
		switch {
		case !ok:
			take()
		case key == "P":
			p.name = value
		case key == "V":
			p.version = value
		case key == "C":
			p.checksum = value
		case key == "S":
			p.size, _ = strconv.ParseInt(value, 10, 64)
		case key == "t":
			t, _ := strconv.ParseInt(value, 10, 64)
			newest = max(newest, t)
		}
	}
	take()
	if small.name == "" {
		return small, 0, errors.Join(errors.New("it names no package"), s.Err())
	}
	return small, newest, s.Err()
}

// check compares the size, and the SHA-1 of the control member that C: holds.
func (p apkPackage) check(data []byte) error {
	if int64(len(data)) != p.size {
		return fmt.Errorf("it has %d bytes, not the %d that the index says", len(data), p.size)
	}
	want, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.checksum, "Q1"))
	if err != nil || !strings.HasPrefix(p.checksum, "Q1") {
		return nil // a newer kind of checksum
	}
	members, err := gzipMembers(data)
	if err != nil {
		return err
	}
	for _, m := range members {
		got := sha1.Sum(m.raw) //nolint:gosec // apk's own
		if bytes.Equal(got[:], want) {
			return nil
		}
	}
	return errors.New("its control part is not the one that the index says")
}
