// Package pgp reads OpenPGP keys and checks detached signatures by them (RFC 9580),
// as strictly as package archives want it: a SHA-2 hash or better, RSA keys of 2048
// bits or more, one good signature by a key that is known.
package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

var (
	// ErrSignature: no good signature by a key that is trusted here.
	ErrSignature = errors.New("no good signature by a trusted key")
	// ErrGarbled: what should be a signature cannot be read.
	ErrGarbled = errors.New("the signature is garbled")
)

// minRSABits is what a key needs to be believed.
const minRSABits = 2048

// ReadKeys reads binary keys, or armored blocks one after the other.
func ReadKeys(data []byte) (openpgp.EntityList, error) {
	const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	if !bytes.Contains(data, []byte(begin)) {
		return openpgp.ReadKeyRing(bytes.NewReader(data))
	}
	var all openpgp.EntityList
	for {
		i := bytes.Index(data, []byte(begin))
		if i < 0 {
			return all, nil
		}
		block := data[i:]
		data = block[len(begin):]
		if j := bytes.Index(data, []byte(begin)); j >= 0 {
			block = block[:len(begin)+j]
		}
		list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(block))
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
}

// VerifyDetached checks a text against its detached signature, armored or binary.
// The error matches [ErrSignature] or [ErrGarbled].
func VerifyDetached(ring openpgp.EntityList, text, sigs []byte) (signer string, err error) {
	if bytes.HasPrefix(sigs, []byte("-----BEGIN")) {
		block, err := armor.Decode(bytes.NewReader(sigs))
		if err != nil {
			return "", fmt.Errorf("%w: %v", ErrGarbled, err)
		}
		if sigs, err = io.ReadAll(block.Body); err != nil {
			return "", fmt.Errorf("%w: %v", ErrGarbled, err)
		}
	}
	return Verify(ring, text, sigs)
}

// Verify looks for one good signature in a row of binary ones, and gives the
// fingerprint of its primary key in upper case hex. Those by keys that are not known, or of
// kinds that are not believed, do no harm: archives sign with several keys while
// one follows the other.
func Verify(ring openpgp.EntityList, signed, sigs []byte) (signer string, err error) {
	var why []string
	packets := packet.NewReader(bytes.NewReader(sigs))
	for {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		var unsupported pgperrors.UnsupportedError
		var unknown pgperrors.UnknownPacketTypeError
		if errors.As(err, &unsupported) || errors.As(err, &unknown) {
			why = append(why, err.Error())
			continue
		}
		if err != nil {
			why = append(why, err.Error())
			break
		}
		sig, ok := p.(*packet.Signature)
		if !ok {
			why = append(why, "a packet that is no signature")
			break
		}
		signer, err := verifyOne(ring, signed, sig)
		if err == nil {
			return signer, nil
		}
		why = append(why, err.Error())
	}
	if why == nil {
		why = []string{"there is none"}
	}
	return "", fmt.Errorf("%w: %s", ErrSignature, strings.Join(why, "; "))
}

func verifyOne(ring openpgp.EntityList, signed []byte, sig *packet.Signature) (string, error) {
	if sig.IssuerKeyId == nil {
		return "", errors.New("a signature that names no key")
	}
	id := fmt.Sprintf("%016X", *sig.IssuerKeyId)
	switch sig.Hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512:
	default:
		return "", fmt.Errorf("the signature by key %s uses the hash %v, which is not believed", id, sig.Hash)
	}
	if sig.SigType != packet.SigTypeText && sig.SigType != packet.SigTypeBinary {
		return "", fmt.Errorf("the signature by key %s is of another kind", id)
	}
	keys := ring.KeysByIdUsage(*sig.IssuerKeyId, packet.KeyFlagSign)
	if len(keys) == 0 {
		return "", fmt.Errorf("key %s is not in the keyring", id)
	}
	for _, k := range keys {
		if bits, err := k.PublicKey.BitLength(); err == nil && k.PublicKey.PubKeyAlgo == packet.PubKeyAlgoRSA && bits < minRSABits {
			return "", fmt.Errorf("key %s has only %d bits", id, bits)
		}
	}
	var one bytes.Buffer
	if err := sig.Serialize(&one); err != nil {
		return "", fmt.Errorf("the signature by key %s: %v", id, err)
	}
	// The key has to have been good when it signed: releases of archives and
	// snapshots outlive their keys.
	made := sig.CreationTime
	_, entity, err := openpgp.VerifyDetachedSignature(ring, bytes.NewReader(signed), &one, &packet.Config{Time: func() time.Time { return made }})
	if err != nil {
		return "", fmt.Errorf("the signature by key %s is bad: %v", id, err)
	}
	return fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint), nil
}
