package pgp_test

import (
	"bytes"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cfbuild/cfbuild/internal/pgp"
)

// TestWeakHash has the same signature say that it uses several hashes. The weak ones
// are refused as such, before anything is computed; SHA-1 is number 2 and SHA-224
// number 11 (RFC 9580, 9.5). The library does not make such signatures, so the
// number is changed in a good one.
func TestWeakHash(t *testing.T) {
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cfg := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return made }}
	e, err := openpgp.NewEntity("x", "", "", cfg)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("signed text")
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA512} {
		sig := &packet.Signature{Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: e.PrimaryKey.PubKeyAlgo, Hash: hash, CreationTime: made, IssuerKeyId: &e.PrimaryKey.KeyId}
		h := hash.New()
		h.Write(text)
		if err := sig.Sign(h, e.PrivateKey, cfg); err != nil {
			t.Fatal(hash, err)
		}
		var b bytes.Buffer
		if err := sig.Serialize(&b); err != nil {
			t.Fatal(hash, err)
		}
		data := b.Bytes()
		if _, err := pgp.Verify(openpgp.EntityList{e}, text, data); err != nil {
			t.Errorf("%v: %v", hash, err)
		}
		if _, err := pgp.Verify(openpgp.EntityList{e}, []byte("other text"), data); !errors.Is(err, pgp.ErrSignature) {
			t.Errorf("%v: another text: %v", hash, err)
		}
		// Two bytes of packet header, then version, type, algorithm, hash.
		for _, weak := range []byte{2, 11} {
			data[5] = weak
			if _, err := pgp.Verify(openpgp.EntityList{e}, text, data); !errors.Is(err, pgp.ErrSignature) || !strings.Contains(err.Error(), "not believed") {
				t.Errorf("hash number %d: %v", weak, err)
			}
		}
	}
	if _, err := pgp.Verify(openpgp.EntityList{e}, text, nil); !errors.Is(err, pgp.ErrSignature) {
		t.Errorf("no signature: %v", err)
	}
}
