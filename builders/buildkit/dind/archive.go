package dind

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cfbuild/cfbuild/internal/steptrust"
)

// archive writes our image as "docker save" does (manifest.json, a configuration, a layer),
// which every Docker loads. The layer is read twice: once for its digest, once to be sent.
func (p *programs) archive(w io.Writer, arch, ref string, labels map[string]string) error {
	sum := sha256.New()
	var size counter
	if err := p.layer(io.MultiWriter(sum, &size)); err != nil {
		return err
	}
	diff := hex.EncodeToString(sum.Sum(nil))
	config, err := json.Marshal(map[string]any{
		"architecture": goArch(arch), "os": "linux", "created": "1970-01-01T00:00:00Z",
		"config":  map[string]any{"Labels": labels, "Entrypoint": []string{binDir + "/buildkitd"}, "Env": []string{"PATH=" + binDir}},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + diff}},
		"history": []map[string]string{{"created": "1970-01-01T00:00:00Z", "created_by": "cfbuild: BuildKit " + p.version}},
	})
	if err != nil {
		return err
	}
	name := hex.EncodeToString(digest(config)) + ".json"
	layer := diff + "/layer.tar"
	manifest, err := json.Marshal([]map[string]any{{"Config": name, "RepoTags": []string{ref}, "Layers": []string{layer}}})
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	put := func(name string, b []byte) error {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err := tw.Write(b)
		return err
	}
	if err := put(name, config); err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Name: layer, Mode: 0o644, Size: int64(size)}); err != nil {
		return err
	}
	if err := p.layer(tw); err != nil {
		return err
	}
	if err := put("manifest.json", manifest); err != nil {
		return err
	}
	return tw.Close()
}

// layer is all that is in our image. Its time stamps are 1970: it is the same each time.
func (p *programs) layer(w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, d := range []struct {
		name string
		mode int64
	}{{"etc/", 0o755}, {"etc/ssl/", 0o755}, {"etc/ssl/certs/", 0o755}, {"run/", 0o755}, {"tmp/", 0o1777}, {"usr/", 0o755}, {"usr/bin/", 0o755}} {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d.name, Mode: d.mode}); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"etc/group", []byte("root:x:0:\n")},
		{"etc/passwd", []byte("root:x:0:0:root:/:/sbin/nologin\n")},
		{"etc/ssl/certs/ca-certificates.crt", steptrust.Mozilla()},
	} {
		if err := tw.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
			return err
		}
		if _, err := tw.Write(f.data); err != nil {
			return err
		}
	}
	for _, f := range p.files {
		if err := tw.WriteHeader(&tar.Header{Name: "usr/bin/" + f.name, Mode: 0o755, Size: f.size}); err != nil {
			return err
		}
		if err := copyFile(tw, f.path); err != nil {
			return err
		}
	}
	return tw.Close()
}

func copyFile(w io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// pack is files as a tar archive, with the directories that lead to them.
func pack(files map[string][]byte) []byte {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	made := map[string]bool{}
	var dirs func(string)
	dirs = func(dir string) {
		if dir == "." || made[dir] || dir == "etc" {
			return
		}
		dirs(path.Dir(dir))
		made[dir] = true
		_ = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		dirs(path.Dir(name))
		_ = tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))})
		_, _ = tw.Write(files[name])
	}
	_ = tw.Close() // a buffer takes everything
	return b.Bytes()
}

// counter counts bytes.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func digest(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// short is a name made of all that is said.
func short(parts ...string) string {
	return hex.EncodeToString(digest([]byte(strings.Join(parts, "\x00"))))[:12]
}

func goArch(arch string) string {
	switch arch {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "armv7l":
		return "arm"
	case "i686":
		return "386"
	}
	return arch
}
