package archive

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cfbuild/cfbuild/site"
)

func TestEmbeddedKeys(t *testing.T) {
	// The signing keys of each release, as their packages list them.
	for repository, want := range map[string][]string{
		"debian": {
			"80D15823B7FD1561F9F7BCDDDC30D7C23CBBABEE", "6D33866EDD8FFA41C0143AEDDCC9EFBF77E11517", // 10
			"1F89983E0081FDE018F3CC9673A4F27B8DD47936", "A4285295FC7B1A81600062A9605C66F00D6C9793", // 11
			"B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8", "4D64FEC119C2029067D6E791F8D2585B8783D481", // 12
			"04B54C3CDCA79751B16BC6B5225629DF75B188BD", "41587F7DB8C774BCCF131416762F67A0B2C39DE4", // 13
		},
		"debian-security": {"5E61B217265DA9807A23C5FF4DFAB270CAA96DFA", "AC530D520F2F3269F5E98313A48449044AAD5C5D", "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0", "5E04A1E3223A19A20706E20F9904613D4CCE68C6"},
		"ubuntu":          {"790BC7277767219C42C86F933B4FE6ACC0B21F32", "F6ECB3762474EDA9D21B7022871920D1991BC93C"},
	} {
		ring, err := keyring(repository, site.Keyring{})
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for _, e := range ring {
			have[fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)] = true
			ids := []uint64{e.PrimaryKey.KeyId}
			for _, s := range e.Subkeys {
				ids = append(ids, s.PublicKey.KeyId)
			}
			for _, id := range ids {
				if len(ring.KeysByIdUsage(id, packet.KeyFlagSign)) == 0 {
					t.Errorf("%s: key %X cannot sign", repository, id)
				}
			}
		}
		for _, fp := range want {
			if !have[fp] {
				t.Errorf("%s: key %s is missing", repository, fp)
			}
		}
	}
	if _, err := keyring("elsewhere", site.Keyring{}); err == nil {
		t.Error("a repository without keys has some")
	}
	ubuntuKeys, err := embedded.ReadFile("keys/ubuntu.gpg")
	if err != nil {
		t.Fatal(err)
	}
	all, err := keyring("debian", site.Keyring{Keys: ubuntuKeys})
	only, err2 := keyring("debian", site.Keyring{Keys: ubuntuKeys, Replace: true})
	if err != nil || err2 != nil || len(all) != 14 || len(only) != 2 {
		t.Errorf("%d keys when added, %d when replaced, %v, %v", len(all), len(only), err, err2)
	}
}

func TestReleaseTimes(t *testing.T) {
	want := time.Date(2026, 7, 1, 10, 16, 37, 0, time.UTC)
	for _, s := range []string{"Wed, 01 Jul 2026 10:16:37 UTC", "Wed,  1 Jul 2026 10:16:37 UTC", "Wed, 1 Jul 2026 10:16:37 GMT", "Wed, 01 Jul 2026 10:16:37 +0000", "Wed, 01 Jul 2026 12:16:37 +0200"} {
		if got, err := releaseTime(s); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "2026-07-01", "Wed, 01 Jul 2026 10:16:37 CEST"} {
		if got, err := releaseTime(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestMalformedRelease(t *testing.T) {
	sum := strings.Repeat("a", 64)
	good := "Date: Wed, 01 Jul 2026 10:16:37 UTC\nSHA256:\n " + sum + " 10 main/x\n"
	if r, err := parseRelease([]byte(good)); err != nil || len(r.files) != 1 {
		t.Fatal(r, err)
	}
	for name, text := range map[string]string{
		"empty": "", "no date": "SHA256:\n " + sum + " 10 main/x\n", "no files": "Date: Wed, 01 Jul 2026 10:16:37 UTC\n",
		"short hash": strings.Replace(good, "aa", "", 1), "negative size": strings.Replace(good, " 10 ", " -1 ", 1),
		"no field": good + "what\n", "two words": strings.Replace(good, " 10 ", " ", 1), "bad date": strings.Replace(good, "Jul", "Jux", 1),
	} {
		if _, err := parseRelease([]byte(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
