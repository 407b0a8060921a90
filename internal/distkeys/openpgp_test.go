package distkeys

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

const begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

// read gives the keys of armored blocks, and fails on a block with more than one.
func read(t *testing.T, data []byte) openpgp.EntityList {
	t.Helper()
	var all openpgp.EntityList
	for _, block := range strings.Split(string(data), begin)[1:] {
		list, err := openpgp.ReadArmoredKeyRing(strings.NewReader(begin + block))
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 {
			t.Errorf("a block has %d keys: rpm before 4.13 reads only the first", len(list))
		}
		all = append(all, list...)
	}
	return all
}

func expires(e *openpgp.Entity) time.Time {
	sig, _ := e.PrimarySelfSignature()
	if sig == nil || sig.KeyLifetimeSecs == nil || *sig.KeyLifetimeSecs == 0 {
		return time.Time{}
	}
	return e.PrimaryKey.CreationTime.Add(time.Duration(*sig.KeyLifetimeSecs) * time.Second)
}

// day is when these keys were looked at.
var day = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

// The README and the files say the same, and every key is one that signatures are
// believed by: RSA of at least 2048 bits that can sign.
func TestKeysAreThoseOfTheREADME(t *testing.T) {
	readme, err := os.ReadFile("openpgp/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(readme)) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `") && len(cells) == 5 {
			want = append(want, strings.Trim(cells[0], "| `")+" "+cells[1]+" "+strings.TrimSuffix(strings.TrimSpace(cells[4]), " |"))
		}
	}
	files, err := os.ReadDir("openpgp")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		if f.Name() == "README.md" {
			continue
		}
		data, err := os.ReadFile("openpgp/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("PRIVATE")) {
			t.Fatalf("%s holds a private key", f.Name())
		}
		for _, e := range read(t, data) {
			end := "never"
			last := day
			if x := expires(e); !x.IsZero() {
				end = x.UTC().Format(time.DateOnly)
				last = x.Add(-24 * time.Hour)
			}
			got = append(got, fmt.Sprintf("%s %X %s", f.Name(), e.PrimaryKey.Fingerprint, end))
			if bits, err := e.PrimaryKey.BitLength(); err != nil || bits < 2048 || e.PrimaryKey.PubKeyAlgo != packet.PubKeyAlgoRSA {
				t.Errorf("%s: key %X has %d bits of kind %d", f.Name(), e.PrimaryKey.Fingerprint, bits, e.PrimaryKey.PubKeyAlgo)
			}
			if _, can := e.SigningKey(last); !can {
				t.Errorf("%s: key %X cannot sign", f.Name(), e.PrimaryKey.Fingerprint)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(got) < 20 || !slices.Equal(got, want) {
		t.Errorf("files have\n%s\nREADME has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestKeys(t *testing.T) {
	// Each release has a key that can sign on that day.
	for _, c := range []struct {
		repository, suite string
		ids               string
	}{
		{"centos-stream", "9-stream/BaseOS/$basearch/os", "8483C65D 1D997668"},
		{"centos-stream", "SIGs/10-stream/extras/$basearch/extras-common", "8483C65D 1D997668"},
		{"centos-vault", "7.9.2009/os/$basearch", "F4A80EB5"},
		{"centos-vault", "8-stream/BaseOS/$basearch/os", "8483C65D 1D997668"},
		{"centos-altarch", "7.9.2009/updates/$basearch", "305D49D6 F533F4FA F4A80EB5"},
		{"epel", "9/Everything/$basearch", "3228467C"},
		{"epel", "next/9/Everything/$basearch", "3228467C"},
		{"epel", "10/Everything/$basearch", "E37ED158"},
		{"epel-archive", "7/$basearch", "352C64E5"},
		{"rocky", "8/BaseOS/$basearch/os", "6D745A60"},
		{"rocky", "9.4/AppStream/$basearch/os", "350D275D"},
		{"rocky", "/10/BaseOS/$basearch/os/", "6FEDFC85"},
		{"almalinux", "8/BaseOS/$basearch/os", "3ABB34F8 CED7258B"},
		{"almalinux", "9/BaseOS/$basearch/os", "B86B3716"},
		{"almalinux", "10/BaseOS/$basearch/os", "C2A1E572"},
		{"fedora", "releases/44/Everything/$basearch/os", "6D9F90A6"},
		{"fedora-secondary", "updates/45/Everything/$basearch", "F577861E"},
		{"ubi", "dist/ubi9/9/$basearch/baseos/os", "FD431D51 5A6340B3"},
		{"opensuse", "distribution/leap/15.6/repo/oss", "3DBDC284 29B700A4 65176565 25DB7AE0 39DB7C82 3FA1D6CE"},
		{"suse-bci", "Products/SLE-BCI/15-SP7/$basearch/product", "39DB7C82 3FA1D6CE"},
	} {
		var ids []string
		alive := false
		for _, e := range read(t, Keys(c.repository, c.suite)) {
			ids = append(ids, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint[16:]))
			_, can := e.SigningKey(day)
			alive = alive || can
		}
		if got := strings.Join(ids, " "); got != c.ids || !alive {
			t.Errorf("%s %s: keys %s, want %s; one can sign: %v", c.repository, c.suite, got, c.ids, alive)
		}
	}
	for _, c := range [][2]string{
		{"centos-stream-9", "x"}, {"rocky", "7/BaseOS"}, {"rocky", ""}, {"epel", "6/x86_64"}, {"fedora", "releases/12/Everything"},
		{"centos-vault", "6.10/os"}, {"centos-altarch", "8/BaseOS"}, {"debian", "trixie"},
	} {
		if k := Keys(c[0], c[1]); k != nil {
			t.Errorf("%s %s has keys", c[0], c[1])
		}
	}
}

// The real rpm takes every key: gpgkey= of an image's repositories names such files.
func TestRPMImportsEveryKey(t *testing.T) {
	rpm := testneed.Program(t, "rpm")
	files, err := filepath.Glob("openpgp/*.asc")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		// Debian's rpm keeps its database below the home directory.
		db := []string{"--root", root, "--define", "_dbpath /var/lib/rpm"}
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(rpm, append(db, "--import", path)...).CombinedOutput(); err != nil {
			t.Errorf("%s: rpm --import: %v\n%s", file, err, out)
			continue
		}
		out, err := exec.Command(rpm, append(db, "-q", "--qf", "%{VERSION}\n", "gpg-pubkey")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for line := range strings.Lines(string(out)) {
			got = append(got, strings.TrimSpace(line))
		}
		for _, e := range read(t, data) {
			want = append(want, fmt.Sprintf("%x", e.PrimaryKey.Fingerprint[16:]))
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: rpm has %v, the file %v", file, got, want)
		}
	}
}
