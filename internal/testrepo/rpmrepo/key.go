package rpmrepo

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cfbuild/cfbuild/site"
)

// Made is when test keys are made and test packages are signed and built.
var Made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Key is a throw-away key that signs test packages and repositories.
type Key struct{ Entity *openpgp.Entity }

func config() *packet.Config {
	salt := false // the same signature for the same content
	return &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048, Time: func() time.Time { return Made },
		NonDeterministicSignaturesViaNotation: &salt}
}

// NewKey makes an RSA key, which every version of rpm takes.
func NewKey(t testing.TB) *Key {
	t.Helper()
	e, err := openpgp.NewEntity("test repository", "", "repository@example.test", config())
	if err != nil {
		t.Fatal(err)
	}
	return &Key{e}
}

// Public is the armored public key.
func (k *Key) Public(t testing.TB) []byte {
	t.Helper()
	return armored(t, openpgp.PublicKeyType, func(b *bytes.Buffer) error { return k.Entity.Serialize(b) })
}

func armored(t testing.TB, kind string, write func(*bytes.Buffer) error) []byte {
	t.Helper()
	var raw, out bytes.Buffer
	err := write(&raw)
	if err == nil {
		w, err2 := armor.Encode(&out, kind, nil)
		if err = err2; err == nil {
			w.Write(raw.Bytes())
			err = w.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// Keyring trusts this key only.
func (k *Key) Keyring(t testing.TB) site.Keyring {
	return site.Keyring{Keys: k.Public(t), Replace: true}
}

// Sign makes a binary signature.
func (k *Key) Sign(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := openpgp.DetachSign(&out, k.Entity, bytes.NewReader(b), config()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Detached makes an armored signature.
func (k *Key) Detached(t testing.TB, b []byte) []byte {
	t.Helper()
	return armored(t, openpgp.SignatureType, func(w *bytes.Buffer) error {
		_, err := w.Write(k.Sign(t, b))
		return err
	})
}

// SignV3 makes a binary signature of version 3 (RFC 4880, 5.2.2), as Red Hat's and
// CentOS's packages have them.
func (k *Key) SignV3(t testing.TB, b []byte) []byte {
	t.Helper()
	hashed := binary.BigEndian.AppendUint32([]byte{0}, uint32(Made.Unix()))
	sum := sha256.Sum256(append(bytes.Clone(b), hashed...))
	priv, ok := k.Entity.PrivateKey.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		t.Fatal("the key is no RSA key")
	}
	sig, err := rsa.SignPKCS1v15(nil, priv, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig = bytes.TrimLeft(sig, "\x00")
	body := append([]byte{3, 5}, hashed...)
	body = binary.BigEndian.AppendUint64(body, k.Entity.PrimaryKey.KeyId)
	body = append(body, 1, 8, sum[0], sum[1])
	body = binary.BigEndian.AppendUint16(body, uint16(len(sig)*8-bits.LeadingZeros8(sig[0])))
	body = append(body, sig...)
	return append(binary.BigEndian.AppendUint16([]byte{0x89}, uint16(len(body))), body...)
}
