package sif

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var signedAt = stamp.Add(240 * time.Hour)

// pgpKey makes an OpenPGP key and gives its armored secret and public parts.
func pgpKey(t testing.TB, passphrase string, lifetime time.Duration) (secret, public []byte) {
	t.Helper()
	e, err := openpgp.NewEntity("Test Signer", "", "signer@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA,
		KeyLifetimeSecs: uint32(lifetime.Seconds()), Time: func() time.Time { return stamp.Add(24 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	armored := func(kind string, write func(b *bytes.Buffer) error) []byte {
		var raw, out bytes.Buffer
		if err := write(&raw); err != nil {
			t.Fatal(err)
		}
		w, err := armor.Encode(&out, kind, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(raw.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	public = armored(openpgp.PublicKeyType, func(b *bytes.Buffer) error { return e.Serialize(b) })
	if passphrase != "" {
		if err := e.EncryptPrivateKeys([]byte(passphrase), nil); err != nil {
			t.Fatal(err)
		}
	}
	return armored(openpgp.PrivateKeyType, func(b *bytes.Buffer) error { return e.SerializePrivateWithoutSigning(b, nil) }), public
}

// pemKey gives a private key, its public key and a certificate for it, as PEM.
func pemKey(t testing.TB, key crypto.Signer, usage x509.KeyUsage) (secret, public, certificate []byte) {
	t.Helper()
	block := func(kind string) func(der []byte, err error) []byte {
		return func(der []byte, err error) []byte {
			if err != nil {
				t.Fatal(err)
			}
			return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		}
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Signer"}, NotBefore: stamp, NotAfter: stamp.Add(1000 * time.Hour),
		KeyUsage: usage, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	return block("PRIVATE KEY")(x509.MarshalPKCS8PrivateKey(key)), block("PUBLIC KEY")(x509.MarshalPKIXPublicKey(key.Public())),
		block("CERTIFICATE")(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
}

func ecdsaKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signingKey(t testing.TB, data []byte, passphrase string) *SigningKey {
	t.Helper()
	k, err := ReadSigningKey(data, []byte(passphrase), signedAt)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func trusting(t testing.TB, keys ...[]byte) Trust {
	t.Helper()
	var out Trust
	for _, k := range keys {
		if err := out.AddKey(k); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func signedBy(t testing.TB, path string, trust Trust) ([]Signer, error) {
	t.Helper()
	i, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	return i.Signed(context.Background(), trust)
}

func TestSignatures(t *testing.T) {
	l, d := image(t, v1.Image{}, twoLayers(t)...)
	secret, public := pgpKey(t, "open sesame", 0)
	_, stranger := pgpKey(t, "", 0)
	ec, ecPublic, certificate := pemKey(t, ecdsaKey(t), x509.KeyUsageDigitalSignature)
	_, ecStranger, _ := pemKey(t, ecdsaKey(t), 0)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, edPublic, _ := pemKey(t, edKey, 0)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs, rsPublic, _ := pemKey(t, rsaKey, 0)
	for name, c := range map[string]struct {
		key         *SigningKey
		good, wrong Trust
	}{
		"OpenPGP": {signingKey(t, secret, "open sesame"), trusting(t, public), trusting(t, stranger, ecPublic)},
		"ECDSA":   {signingKey(t, ec, ""), trusting(t, ecPublic), trusting(t, ecStranger, public)},
		"Ed25519": {signingKey(t, ed, ""), trusting(t, edPublic), trusting(t, ecPublic)},
		"RSA":     {signingKey(t, rs, ""), trusting(t, rsPublic), trusting(t, ecPublic)},
	} {
		plain, _ := converted(t, l, d, Options{})
		path, r := converted(t, l, d, Options{Sign: c.key})
		who, err := signedBy(t, path, c.good)
		if err != nil || len(who) != 1 || len(who[0].Objects) != 4 || len(who[0].Key) < 40 || (name == "OpenPGP") != (who[0].Name == "Test Signer <signer@example.org>") {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
		if _, err := signedBy(t, path, c.wrong); !errors.Is(err, ErrSigner) {
			t.Errorf("%s: by a wrong key: %v", name, err)
		}
		if _, err := signedBy(t, path, Trust{}); !errors.Is(err, ErrSigner) {
			t.Errorf("%s: by no key: %v", name, err)
		}
		if _, err := signedBy(t, plain, c.good); !errors.Is(err, ErrUnsigned) {
			t.Errorf("%s: unsigned: %v", name, err)
		}
		// Signing later gives the same file, and again changes nothing.
		if digest, same, err := Sign(context.Background(), plain, c.key); err != nil || same || digest != r.Digest {
			t.Errorf("%s: %s, %v, %v; want %s", name, digest, same, err, r.Digest)
		}
		if digest, same, err := Sign(context.Background(), plain, c.key); err != nil || !same || digest != r.Digest {
			t.Errorf("%s: again: %s, %v, %v", name, digest, same, err)
		}
		if st, err := os.Stat(plain); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
		// The signature is no part of what the ID is made of.
		i, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := i.Verify(context.Background()); err != nil || i.ID != r.ID {
			t.Errorf("%s: %v", name, err)
		}
		i.Close()
	}
	both, _ := converted(t, l, d, Options{Sign: signingKey(t, secret, "open sesame")})
	if _, _, err := Sign(context.Background(), both, signingKey(t, ec, "")); err != nil {
		t.Fatal(err)
	}
	var byCertificate Trust
	if err := byCertificate.AddCertificate(certificate, signedAt); err != nil {
		t.Fatal(err)
	}
	for want, trust := range map[int]Trust{1: byCertificate, 2: trusting(t, public, ecPublic)} {
		if who, err := signedBy(t, both, trust); err != nil || len(who) != want {
			t.Errorf("%+v, %v; want %d signers", who, err, want)
		}
	}
}

func TestForged(t *testing.T) {
	l, d := image(t, v1.Image{}, twoLayers(t)...)
	secret, public, _ := pemKey(t, ecdsaKey(t), 0)
	key, trust := signingKey(t, secret, ""), trusting(t, public)
	path, _ := converted(t, l, d, Options{Sign: key})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	objects := i.Objects
	i.Close()
	write := func(b []byte) string {
		p := filepath.Join(t.TempDir(), "x.sif")
		if err := os.WriteFile(p, b, 0o755); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, o := range objects {
		b := bytes.Clone(whole)
		b[o.Offset+o.Size/2] ^= 1
		_, err := signedBy(t, write(b), trust)
		var oe *ObjectError
		if o.ID < 5 && (!errors.Is(err, ErrForged) || !errors.As(err, &oe) || oe.ID != o.ID) || o.ID == 5 && !errors.Is(err, ErrSigner) && !errors.Is(err, ErrForged) {
			t.Errorf("object %d: %v", o.ID, err)
		}
	}
	// A name in a descriptor, the launch line, the ID.
	for what, at := range map[string]int{"descriptor": bytes.Index(whole, []byte(configName)), "launch": 2, "id": 48} {
		b := bytes.Clone(whole)
		b[at] ^= 1
		forged := write(b)
		if _, err := signedBy(t, forged, trust); !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
		// It is not made right by signing it again.
		if _, _, err := Sign(context.Background(), forged, key); !errors.Is(err, ErrForged) {
			t.Errorf("%s signed: %v", what, err)
		}
		if now, _ := os.ReadFile(forged); !bytes.Equal(now, b) {
			t.Errorf("%s: the file was changed", what)
		}
	}
}

func TestKeys(t *testing.T) {
	secret, public := pgpKey(t, "open sesame", 0)
	expired, _ := pgpKey(t, "", time.Hour)
	small, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	ec, ecPublic, certificate := pemKey(t, ecdsaKey(t), x509.KeyUsageCertSign)
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	broken := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
	for name, c := range map[string]struct {
		data, passphrase string
		is               error
		says             string
	}{
		"no passphrase":    {string(secret), "", ErrPassphrase, "none was given"},
		"wrong passphrase": {string(secret), "wrong", ErrPassphrase, "does not open OpenPGP key"},
		"public":           {string(public), "", ErrKey, "it is a public key"},
		"expired":          {string(expired), "", ErrKey, "has expired"},
		"two":              {string(expired) + string(secret), "", ErrKey, "has expired"}, // only the first block is read
		"nothing":          {"", "", ErrKey, "empty"},
		"text":             {"hello", "", ErrKey, "neither PEM nor OpenPGP"},
		"encrypted PEM":    {string(locked), "x", ErrKey, "encrypted PEM is not read"},
		"broken PEM":       {string(broken), "", ErrKey, ""},
		"public PEM":       {string(ecPublic), "", ErrKey, `PEM "PUBLIC KEY" is no private key`},
	} {
		if _, err := ReadSigningKey([]byte(c.data), []byte(c.passphrase), signedAt); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var trust Trust
	for _, bad := range [][]byte{nil, []byte("hello"), ec, certificate, broken, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: small})} {
		if err := trust.AddKey(bad); !errors.Is(err, ErrKey) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if err := trust.AddCertificate(certificate, signedAt); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "not for signatures") {
		t.Errorf("%v", err)
	}
	if err := trust.AddCertificate(certificate, signedAt.Add(100000*time.Hour)); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "is valid from 2023-11-14 to") {
		t.Errorf("%v", err)
	}
	if err := trust.AddCertificate(ecPublic, signedAt); !errors.Is(err, ErrKey) {
		t.Errorf("%v", err)
	}
}

// Real Apptainer believes both kinds, and finds what we find.
func TestRealApptainerVerifies(t *testing.T) {
	program := apptainer(t)
	l, d := image(t, v1.Image{}, twoLayers(t)...)
	secret, public := pgpKey(t, "open sesame", 0)
	ec, ecPublic, _ := pemKey(t, ecdsaKey(t), 0)
	dir := t.TempDir()
	verify := func(args ...string) (string, error) {
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for name, data := range map[string][]byte{"public.asc": public, "public.pem": ecPublic} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := verify("key", "import", "public.asc"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		key  *SigningKey
		args []string
	}{{signingKey(t, secret, "open sesame"), []string{"verify", "--local"}}, {signingKey(t, ec, ""), []string{"verify", "--key", "public.pem"}}} {
		path, _ := converted(t, l, d, Options{Sign: c.key})
		if out, err := verify(append(c.args, path)...); err != nil || !strings.Contains(out, "Verified signature") && !strings.Contains(out, "verified") {
			t.Errorf("%v: %v\n%s", c.args, err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[37000] ^= 1
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := verify(append(c.args, path)...); err == nil || !strings.Contains(out, "object integrity compromised") {
			t.Errorf("%v of a forged file: %v\n%s", c.args, err, out)
		}
	}
}

// What a killed process left is removed by the next; what a living one writes is not.
func TestSweep(t *testing.T) {
	l, d := image(t, v1.Image{}, twoLayers(t)...)
	path, _ := converted(t, l, d, Options{})
	base := filepath.Base(path)
	living, done, err := beside(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".tmp-" + base + "-123", ".tmp-" + base + "-12x", ".tmp-other.sif-1"} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Convert(context.Background(), l, d, path, Options{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	entries, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		got = append(got, e.Name())
	}
	for name, want := range map[string]bool{".tmp-" + base + "-123": false, ".tmp-" + base + "-12x": true, ".tmp-other.sif-1": true,
		filepath.Base(living.Name()): true, base: true} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), name)); (err == nil) != want {
			t.Errorf("%s: %v; there is %q", name, err, got)
		}
	}
	done()
	if _, err := os.Stat(living.Name()); err == nil {
		t.Error("the temporary file was left")
	}
}
