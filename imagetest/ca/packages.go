package ca

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// addAPT adds a signed repository with one package (Debian's RepositoryFormat) and
// gives the armored key, made for this run alone.
func addAPT(t tree, now time.Time) ([]byte, error) {
	pack, err := deb(now)
	if err != nil {
		return nil, err
	}
	index := fmt.Appendf(nil, "Package: cfbuild-proof\nVersion: 1.0\nArchitecture: all\nMaintainer: proof <proof@origin.test>\nFilename: pool/cfbuild-proof.deb\nSize: %d\nSHA256: %x\nDescription: proof\n",
		len(pack), sha256.Sum256(pack))
	t.put("apt/pool/cfbuild-proof.deb", pack)
	arches := []string{"all", "amd64", "arm64", "armel", "armhf", "i386", "mips64el", "mipsel", "ppc64el", "riscv64", "s390x", "loong64"}
	var release strings.Builder
	fmt.Fprintf(&release, "Origin: proof\nSuite: proof\nCodename: proof\nDate: %s\nArchitectures: %s\nComponents: main\nSHA256:\n",
		now.Add(-time.Minute).UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"), strings.Join(arches, " "))
	// Every architecture finds an index of its own: apt asks for that of the image.
	for _, arch := range arches {
		data := []byte{}
		if arch == "all" {
			data = index
		}
		path := "main/binary-" + arch + "/Packages"
		fmt.Fprintf(&release, " %x %d %s\n", sha256.Sum256(data), len(data), path)
		t.put("apt/dists/proof/"+path, data)
	}
	conf := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return now.Add(-time.Hour) }}
	key, err := openpgp.NewEntity("proof", "", "proof@origin.test", conf)
	if err != nil {
		return nil, err
	}
	var signed bytes.Buffer
	w, err := clearsign.Encode(&signed, key.PrivateKey, &packet.Config{Time: func() time.Time { return now.Add(-time.Minute) }})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write([]byte(release.String())); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	t.put("apt/dists/proof/InRelease", signed.Bytes())
	var public bytes.Buffer
	a, err := armor.Encode(&public, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := key.Serialize(a); err != nil {
		return nil, err
	}
	err = a.Close()
	return public.Bytes(), err
}

// deb makes an empty package (deb(5)).
func deb(now time.Time) ([]byte, error) {
	control, err := tarred(now, member{"./control", []byte("Package: cfbuild-proof\nVersion: 1.0\nArchitecture: all\nMaintainer: proof <proof@origin.test>\nDescription: proof\n")})
	if err != nil {
		return nil, err
	}
	data, err := tarred(now)
	if err != nil {
		return nil, err
	}
	b := bytes.NewBufferString("!<arch>\n")
	for _, m := range []member{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", control}, {"data.tar.gz", data}} {
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, now.Unix(), 0, 0, "100644", len(m.data))
		b.Write(m.data)
		if len(m.data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes(), nil
}

// addRPM adds a repository without packages (createrepo_c's metadata): dnf, yum,
// microdnf and zypper fetch its indexes all the same.
func addRPM(t tree, now time.Time) error {
	const xmlns = ` xmlns="http://linux.duke.edu/metadata/`
	var list strings.Builder
	fmt.Fprintf(&list, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd%srepo\">\n<revision>%d</revision>\n", xmlns, now.Unix())
	for _, kind := range []struct{ name, open, close string }{
		{"primary", `<metadata` + xmlns + `common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="0">`, "</metadata>"},
		{"filelists", `<filelists` + xmlns + `filelists" packages="0">`, "</filelists>"},
		{"other", `<otherdata` + xmlns + `other" packages="0">`, "</otherdata>"},
	} {
		plain := []byte("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + kind.open + kind.close + "\n")
		packed, err := gzipped(plain)
		if err != nil {
			return err
		}
		path := "repodata/" + kind.name + ".xml.gz"
		t.put("rpm/"+path, packed)
		fmt.Fprintf(&list, "<data type=%q><checksum type=\"sha256\">%x</checksum><open-checksum type=\"sha256\">%x</open-checksum><location href=%q/><timestamp>%d</timestamp><size>%d</size><open-size>%d</open-size></data>\n",
			kind.name, sha256.Sum256(packed), sha256.Sum256(plain), path, now.Unix(), len(packed), len(plain))
	}
	list.WriteString("</repomd>\n")
	t.put("rpm/repodata/repomd.xml", []byte(list.String()))
	return nil
}

// addAPK adds an index without packages (apk-tools: APKINDEX), not signed: the proof
// is about TLS, and the client is told so.
func addAPK(t tree, now time.Time) error {
	index, err := tarred(now, member{"DESCRIPTION", []byte("proof\n")}, member{"APKINDEX", []byte("\n")})
	t.put("apk/*/APKINDEX.tar.gz", index)
	return err
}
