package steptrust

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"unicode/utf16"
)

// storePassword is what Java's own stores have; it guards nothing.
const storePassword = "changeit"

// JKS writes certificates as a Java key store of trusted authorities, the format of
// sun.security.provider.JavaKeyStore (version 2), which every Java reads. Blocks
// that are not certificates are left out.
func JKS(bundle []byte) []byte {
	var ders [][]byte
	for rest := bundle; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type == "CERTIFICATE" {
			ders = append(ders, b.Bytes)
		}
	}
	be := binary.BigEndian
	text := func(out []byte, s string) []byte { return append(be.AppendUint16(out, uint16(len(s))), s...) }
	out := be.AppendUint32(nil, 0xfeedfeed)
	out = be.AppendUint32(out, 2)
	out = be.AppendUint32(out, uint32(len(ders)))
	for i, der := range ders {
		out = be.AppendUint32(out, 2) // a trusted certificate
		out = text(out, fmt.Sprintf("authority-%d", i+1))
		out = be.AppendUint64(out, 0) // when it was added
		out = text(out, "X.509")
		out = be.AppendUint32(out, uint32(len(der)))
		out = append(out, der...)
	}
	sum := sha1.New()
	for _, u := range utf16.Encode([]rune(storePassword)) {
		sum.Write(be.AppendUint16(nil, u))
	}
	sum.Write([]byte("Mighty Aphrodite")) // the format's own salt
	sum.Write(out)
	return sum.Sum(out)
}
