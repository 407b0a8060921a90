package rpm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cfbuild/cfbuild/bootstrap"
	"github.com/cfbuild/cfbuild/bootstrap/rpm/repo"
	"github.com/cfbuild/cfbuild/internal/distkeys"
	"github.com/cfbuild/cfbuild/internal/pgp"
	"github.com/cfbuild/cfbuild/internal/testneed"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/cfbuild/cfbuild/recipes"
	"github.com/cfbuild/cfbuild/site"
)

// TestKeysOfEveryTarget: each source of the built-in targets has keys that can sign,
// and rpm gets all of them in the form it reads.
func TestKeysOfEveryTarget(t *testing.T) {
	sources, imported, dir := 0, map[string]bool{}, t.TempDir()
	for _, target := range recipes.Pipeline(site.Public()).Targets {
		p := pipelines.Platform{OS: "linux", Architecture: "amd64"}
		if len(target.Platforms) > 0 {
			p = target.Platforms[0]
		}
		g, err := target.Build(p).Graph()
		if err != nil {
			t.Fatal(err)
		}
		op, ok := g.Base().Op.(pipelines.Bootstrap)
		if !ok || op.Method != "rpm" {
			continue
		}
		c := &repo.Client{Keys: distkeys.Keys}
		for _, src := range op.Sources {
			sources++
			usable := 0
			for _, data := range c.PublicKeys(src, site.Keyring{}) {
				ring, err := pgp.ReadKeys(data)
				if err != nil {
					t.Errorf("%s: %s %s: %v", target.Name, src.Repository, src.Suite, err)
				}
				for _, e := range ring {
					usable += len(ring.KeysByIdUsage(e.PrimaryKey.KeyId, packet.KeyFlagSign))
				}
			}
			if usable == 0 {
				t.Errorf("%s: %s %s: no key that can sign", target.Name, src.Repository, src.Suite)
			}
		}
		keys, err := keysOf(c, bootstrap.Request{Op: op, Site: site.Public()})
		if err != nil || len(keys) == 0 {
			t.Errorf("%s: %d keys: %v", target.Name, len(keys), err)
		}
		for _, k := range keys {
			if !bytes.HasPrefix(k.Data, []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----")) || len(k.ID) != 8 || k.BuildOnly {
				t.Errorf("%s: %+v", target.Name, k)
			}
			if imported[k.Name] {
				continue
			}
			imported[k.Name] = true
			file := filepath.Join(dir, k.Name)
			if err := os.WriteFile(file, k.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(testneed.Program(t, "rpm"), "--dbpath", filepath.Join(dir, "db"), "--import", file).CombinedOutput(); err != nil {
				t.Errorf("%s: rpm --import: %v\n%s", target.Name, err, out)
			}
			if out, err := exec.Command("rpm", "--dbpath", filepath.Join(dir, "db"), "-q", "gpg-pubkey-"+k.ID).CombinedOutput(); err != nil {
				t.Errorf("%s: rpm does not call a key gpg-pubkey-%s: %s", target.Name, k.ID, out)
			}
		}
	}
	if sources < 10 {
		t.Errorf("only %d sources", sources)
	}
}
