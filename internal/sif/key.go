package sif

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/sigstore/sigstore/pkg/signature"
)

var (
	// ErrKey: a key that cannot be used.
	ErrKey = errors.New("unusable key")
	// ErrPassphrase: a secret key needs a passphrase, or another one.
	ErrPassphrase = errors.New("passphrase")
)

// minRSABits is what an RSA key needs to sign and to be believed.
const minRSABits = 2048

// SigningKey signs SIF files: an OpenPGP key, or one of ECDSA, RSA or Ed25519.
type SigningKey struct {
	entity *openpgp.Entity
	made   time.Time // of the OpenPGP key that signs
	signer crypto.Signer
}

// ReadSigningKey reads a secret key: OpenPGP, armored or binary, or PEM as openssl
// writes it (PKCS #8, SEC 1 or PKCS #1). The passphrase is for OpenPGP keys; encrypted
// PEM is not read. At now the key must be neither expired nor revoked. Errors match
// [ErrKey] or [ErrPassphrase].
func ReadSigningKey(data, passphrase []byte, now time.Time) (*SigningKey, error) {
	if block, _ := pem.Decode(data); block != nil {
		return readPrivatePEM(block)
	}
	ring, err := readRing(data)
	if err != nil {
		return nil, err
	}
	if len(ring) != 1 {
		return nil, fmt.Errorf("%w: the file has %d OpenPGP keys, want the one to sign with", ErrKey, len(ring))
	}
	e := ring[0]
	if e.PrivateKey == nil {
		return nil, fmt.Errorf("%w: it is a public key, and signing takes the secret one", ErrKey)
	}
	usable, ok := e.SigningKey(now)
	if !ok {
		return nil, fmt.Errorf("%w: OpenPGP key %X has expired, was revoked, or is not for signing", ErrKey, e.PrimaryKey.Fingerprint)
	}
	// The library signs with what it takes for the primary key.
	if sig, _ := e.PrimarySelfSignature(); e.PrivateKey.Dummy() || sig == nil || sig.FlagsValid && !sig.FlagSign {
		one := *e
		one.PrivateKey = usable.PrivateKey
		e = &one
	}
	secret := e.PrivateKey
	if secret == nil || secret.Dummy() {
		return nil, fmt.Errorf("%w: the secret part of OpenPGP key %X is not in the file", ErrKey, e.PrimaryKey.Fingerprint)
	}
	if bits, err := secret.BitLength(); err == nil && secret.PubKeyAlgo.CanSign() && isRSA(secret.PublicKey.PublicKey) && bits < minRSABits {
		return nil, fmt.Errorf("%w: %d bits of RSA, want %d", ErrKey, bits, minRSABits)
	}
	if secret.Encrypted {
		if len(passphrase) == 0 {
			return nil, fmt.Errorf("%w: OpenPGP key %X is protected by one, and none was given", ErrPassphrase, e.PrimaryKey.Fingerprint)
		}
		if err := secret.Decrypt(passphrase); err != nil {
			return nil, fmt.Errorf("%w: it does not open OpenPGP key %X", ErrPassphrase, e.PrimaryKey.Fingerprint)
		}
	}
	return &SigningKey{entity: e, made: secret.CreationTime}, nil
}

func isRSA(k any) bool { _, ok := k.(*rsa.PublicKey); return ok }

func readRing(data []byte) (openpgp.EntityList, error) {
	read := openpgp.ReadKeyRing
	if bytes.Contains(data, []byte("-----BEGIN PGP ")) {
		read = openpgp.ReadArmoredKeyRing
	}
	ring, err := read(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: neither PEM nor OpenPGP: %v", ErrKey, err)
	}
	if len(ring) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ErrKey)
	}
	return ring, nil
}

func readPrivatePEM(block *pem.Block) (*SigningKey, error) {
	var key any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, fmt.Errorf("%w: encrypted PEM is not read; openssl pkey writes it without", ErrKey)
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%w: PEM %q is no private key", ErrKey, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: a %T does not sign", ErrKey, key)
	}
	if err := checkPublic(s.Public()); err != nil {
		return nil, err
	}
	return &SigningKey{signer: s}, nil
}

// checkPublic wants a key that real Apptainer takes too.
func checkPublic(k crypto.PublicKey) error {
	switch k := k.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return fmt.Errorf("%w: %d bits of RSA, want %d", ErrKey, k.N.BitLen(), minRSABits)
		}
		return nil
	}
	return fmt.Errorf("%w: a %T: want ECDSA, RSA or Ed25519", ErrKey, k)
}

// Trust is whose signatures are believed. The zero Trust believes nobody.
type Trust struct {
	ring      openpgp.EntityList
	verifiers []signature.Verifier
}

// AddKey adds public keys: OpenPGP, armored or binary, or a PEM public key. The public
// part of a secret OpenPGP key does too.
func (t *Trust) AddKey(data []byte) error {
	block, _ := pem.Decode(data)
	if block == nil {
		ring, err := readRing(data)
		t.ring = append(t.ring, ring...)
		return err
	}
	switch block.Type {
	case "PUBLIC KEY":
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return fmt.Errorf("%w: %v", ErrKey, err)
		}
		return t.add(k)
	case "CERTIFICATE":
		return fmt.Errorf("%w: it is a certificate, not a key", ErrKey)
	}
	return fmt.Errorf("%w: PEM %q is no public key", ErrKey, block.Type)
}

// AddCertificate adds the key of the first PEM certificate, which must be valid at now
// and allow signatures. It is trusted as it is: no chain is looked for.
func (t *Trust) AddCertificate(data []byte, now time.Time) error {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return fmt.Errorf("%w: it is no PEM certificate", ErrKey)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %v", ErrKey, err)
	case now.Before(c.NotBefore) || now.After(c.NotAfter):
		return fmt.Errorf("%w: the certificate of %s is valid from %s to %s", ErrKey, c.Subject,
			c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly))
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return fmt.Errorf("%w: the certificate of %s is not for signatures", ErrKey, c.Subject)
	}
	return t.add(c.PublicKey)
}

func (t *Trust) add(k crypto.PublicKey) error {
	if err := checkPublic(k); err != nil {
		return err
	}
	v, err := signature.LoadVerifier(k, crypto.SHA256)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrKey, err)
	}
	t.verifiers = append(t.verifiers, v)
	return nil
}

// plainSigner signs the same message the same way each time: ECDSA takes its nonce
// from the message (RFC 6979).
type plainSigner struct{ crypto.Signer }

func (s plainSigner) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return s.Public(), nil
}

func (s plainSigner) SignMessage(r io.Reader, _ ...signature.SignOption) ([]byte, error) {
	message, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if _, ok := s.Public().(ed25519.PublicKey); ok {
		return s.Sign(nil, message, crypto.Hash(0))
	}
	sum := crypto.SHA256.New()
	sum.Write(message)
	return s.Sign(nil, sum.Sum(nil), crypto.SHA256)
}

// nobody believes no signature. The library wants a verifier, and that it has a key.
type nobody struct{}

func (nobody) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return make(ed25519.PublicKey, ed25519.PublicKeySize), nil
}

func (nobody) VerifySignature(io.Reader, io.Reader, ...signature.VerifyOption) error {
	return errors.New("no key")
}
