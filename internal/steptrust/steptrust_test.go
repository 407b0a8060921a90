package steptrust

import (
	"bytes"
	"crypto/x509"
	"testing"

	"github.com/cfbuild/cfbuild/site"
)

func TestFiles(t *testing.T) {
	cas := []site.Certificate{{Name: "a", PEM: []byte("A\n")}, {Name: "b", PEM: []byte("B")}}
	got := Files(cas, []byte("system"))
	if string(got[Merged]) != "system\nA\nB\n" || string(got[Lone]) != "A\nB\n" {
		t.Errorf("%q, %q", got[Merged], got[Lone])
	}
	for k, v := range Env() {
		if _, ok := got[v]; !ok && k != "JAVA_TOOL_OPTIONS" {
			t.Errorf("%s names %s, which is not made", k, v)
		}
	}
	if got := Files(cas, nil)[Merged]; !bytes.HasSuffix(got, []byte("-----END CERTIFICATE-----\nA\nB\n")) {
		t.Errorf("without a bundle of its own an image gets %d bytes", len(got))
	}
	// Lending must not change the bytes it was handed.
	have := make([]byte, 2, 64)
	copy(have, "x\n")
	if Join(have, []byte("y")); string(have[:cap(have)][2:3]) == "y" {
		t.Error("Join wrote into its argument")
	}
}

func TestMozilla(t *testing.T) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(Mozilla()) {
		t.Fatal("no certificate")
	}
	if n := bytes.Count(Mozilla(), []byte("BEGIN CERTIFICATE")); n < 80 {
		t.Errorf("%d public roots", n)
	}
}
