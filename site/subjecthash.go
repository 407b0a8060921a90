package site

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"strings"
	"unicode/utf16"
)

// attribute is one AttributeTypeAndValue (RFC 5280, section 4.1.2.4) with its value
// as it was encoded.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// attributeSET is a RelativeDistinguishedName; its name makes it a SET.
type attributeSET []attribute

// SubjectHash is the name below which OpenSSL looks for an authority in a directory,
// without its number: X509_NAME_hash of OpenSSL 1.0 and later, the first four bytes, in
// little-endian order, of the SHA-1 sum over the subject's canonical form. False for a
// certificate that does not parse.
func (c Certificate) SubjectHash() (string, bool) {
	block, _ := pem.Decode(c.PEM)
	if block == nil {
		return "", false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", false
	}
	var name []attributeSET
	if rest, err := asn1.Unmarshal(cert.RawSubject, &name); err != nil || len(rest) > 0 {
		return "", false
	}
	sum := sha1.New()
	for _, set := range name {
		for i, a := range set {
			if text, ok := stringOf(a.Value); ok {
				set[i].Value = asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(canonical(text))}
			}
		}
		der, err := asn1.Marshal(set)
		if err != nil {
			return "", false
		}
		sum.Write(der)
	}
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sum.Sum(nil))), true
}

// stringOf decodes the string types that have a canonical form; others count as
// they are encoded.
func stringOf(v asn1.RawValue) (string, bool) {
	const visible, universal = 26, 28
	if v.Class != asn1.ClassUniversal {
		return "", false
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, visible:
		return string(v.Bytes), true
	case asn1.TagT61String: // taken for Latin-1
		var b strings.Builder
		for _, c := range v.Bytes {
			b.WriteRune(rune(c))
		}
		return b.String(), true
	case asn1.TagBMPString:
		var units []uint16
		for b := v.Bytes; len(b) >= 2; b = b[2:] {
			units = append(units, binary.BigEndian.Uint16(b))
		}
		return string(utf16.Decode(units)), true
	case universal:
		var b strings.Builder
		for u := v.Bytes; len(u) >= 4; u = u[4:] {
			b.WriteRune(rune(binary.BigEndian.Uint32(u)))
		}
		return b.String(), true
	}
	return "", false
}

// canonical drops white space around a text, makes one blank of white space in it,
// and lower-cases letters; both of ASCII alone.
func canonical(s string) string {
	words := bytes.FieldsFunc([]byte(s), func(r rune) bool { return r == ' ' || (r >= '\t' && r <= '\r') })
	out := bytes.Join(words, []byte(" "))
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return string(out)
}
