package distkeys_test

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/distkeys"
)

// The sums of the README are those of a second source.
func TestAlpine(t *testing.T) {
	readme, err := os.ReadFile("alpine/README.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := distkeys.Alpine()
	if len(keys) != 18 {
		t.Errorf("%d keys, want 18", len(keys))
	}
	all := distkeys.Keys("alpine", "v3.24")
	for _, k := range keys {
		block, _ := pem.Decode(k.Data)
		if block == nil {
			t.Errorf("%s is no PEM", k.Name)
			continue
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if pub, ok := key.(*rsa.PublicKey); err != nil || !ok || pub.Size() < 256 {
			t.Errorf("%s: %v, %T", k.Name, err, key)
		}
		sum := sha256.Sum256(k.Data)
		if _, short, _ := strings.Cut(k.Name, ".org-"); !strings.Contains(string(readme), short+"` | `"+hex.EncodeToString(sum[:])) {
			t.Errorf("%s: the README has another sum", k.Name)
		}
		if !strings.Contains(string(all), string(k.Data)) {
			t.Errorf("%s is not among the keys of the repository", k.Name)
		}
	}
}
