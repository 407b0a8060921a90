package unpack

import (
	"crypto"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cfbuild/cfbuild/internal/pgp"
)

// verify checks an OpenPGP signature. Red Hat and CentOS still make those of
// version 3 (RFC 4880, 5.2.2), which package pgp does not know.
func verify(ring openpgp.EntityList, content, sig []byte) error {
	body, ok := signaturePacket(sig)
	if !ok || len(body) == 0 || body[0] != 3 {
		_, err := pgp.Verify(ring, content, sig)
		return err
	}
	if err := verifyV3(ring, content, body); err != nil {
		return fmt.Errorf("%w: %w", pgp.ErrSignature, err)
	}
	return nil
}

// signaturePacket gives the body of the one packet that a signature is (RFC 4880,
// 4.2).
func signaturePacket(b []byte) ([]byte, bool) {
	if len(b) < 2 || b[0]&0x80 == 0 {
		return nil, false
	}
	tag, n, rest := 0, 0, b[1:]
	if b[0]&0x40 != 0 { // the newer form
		tag = int(b[0] & 0x3f)
		switch c := int(rest[0]); {
		case c < 192:
			n, rest = c, rest[1:]
		case c < 224 && len(rest) >= 2:
			n, rest = (c-192)<<8+int(rest[1])+192, rest[2:]
		case c == 255 && len(rest) >= 5:
			n, rest = int(binary.BigEndian.Uint32(rest[1:])), rest[5:]
		default:
			return nil, false
		}
	} else {
		tag = int(b[0]>>2) & 0xf
		size := 1 << (b[0] & 3)
		if size > 4 || len(rest) < size {
			return nil, false
		}
		for _, c := range rest[:size] {
			n = n<<8 | int(c)
		}
		rest = rest[size:]
	}
	return rest, tag == 2 && n == len(rest)
}

// verifyV3 checks an RSA signature of version 3.
func verifyV3(ring openpgp.EntityList, content, b []byte) error {
	// version, 5, type, time (4), key (8), algorithm, hash, 16 bits of the hash, an
	// integer with its length in bits before it.
	if len(b) < 21 || b[1] != 5 {
		return errors.New("a signature of version 3 that is garbled")
	}
	id := binary.BigEndian.Uint64(b[7:])
	kind, algo, hash := b[2], b[15], b[16]
	bits := int(binary.BigEndian.Uint16(b[19:]))
	mpi := b[21:]
	if kind != 0 && kind != 1 || len(mpi) != (bits+7)/8 {
		return errors.New("a signature of version 3 that is garbled")
	}
	h, ok := map[byte]crypto.Hash{8: crypto.SHA256, 9: crypto.SHA384, 10: crypto.SHA512}[hash]
	if !ok || algo != 1 && algo != 3 {
		return fmt.Errorf("the signature by key %016X uses the hash %d and the algorithm %d, which are not believed", id, hash, algo)
	}
	keys := ring.KeysByIdUsage(id, packet.KeyFlagSign)
	if len(keys) == 0 {
		return fmt.Errorf("key %016X is not in the keyring", id)
	}
	sum := h.New()
	sum.Write(content)
	sum.Write(b[2:7])
	digest := sum.Sum(nil)
	for _, k := range keys {
		pub, ok := k.PublicKey.PublicKey.(*rsa.PublicKey)
		if !ok {
			continue
		}
		if pub.N.BitLen() < 2048 {
			return fmt.Errorf("key %016X has only %d bits", id, pub.N.BitLen())
		}
		padded := make([]byte, max(pub.Size(), len(mpi)))
		copy(padded[len(padded)-len(mpi):], mpi)
		if rsa.VerifyPKCS1v15(pub, h, digest, padded) == nil {
			return nil
		}
	}
	return fmt.Errorf("the signature by key %016X is bad", id)
}
