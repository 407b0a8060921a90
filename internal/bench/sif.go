package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// sifComparisons time one image's way from an OCI layout to a SIF file beside
// apptainer build from an archive of it, and beside the programs that make the file
// system alone: mksquashfs of the unpacked tree, and tar2sqfs of the plain layer. All with the
// same codec and level, and with blocks of 128 KiB.
func sifComparisons(cfbuild, work string) ([]comparison, error) {
	dir := filepath.Join(work, "sif")
	in := func(name string) string { return filepath.Join(dir, name) }
	apptainer := fmt.Sprintf("/var/tmp/cfbuild-test-%d/apptainer", os.Getuid())
	script, err := filepath.Abs("scripts/apptainer")
	if err != nil {
		return nil, err
	}
	prepared := false
	prepare := func() error {
		if prepared {
			return nil
		}
		prepared = true
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := quiet(cfbuild, "run", "debian12", "--site", "host", "--platform", "linux/amd64", "--state-dir", in("state"), "--output", dir, "--push", "never"); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(apptainer), 0o755); err != nil {
			return err
		}
		if err := quiet(script, apptainer); err != nil {
			return err
		}
		// The layers of this image delete files, but no directory's content as a whole.
		return quiet("sh", "-ec", `cd "$0"; tar -C debian12 -cf image.tar oci-layout index.json blobs; mkdir tree
for layer in $(grep -aoh '"layers":.*' debian12/blobs/sha256/* | grep -o 'sha256:[0-9a-f]*' | cut -d : -f 2); do
	gzip -dc debian12/blobs/sha256/$layer | tar -C tree --numeric-owner --xattrs -xpf -
	find tree -name '.wh.*' | while read -r mark; do
		name=${mark##*/}; name=${name#.wh.}; test "$name" != .wh..opq; rm -rf "$mark" "${mark%/*}/$name"
	done
done
tar -C tree --numeric-owner --xattrs -cf layer.tar .`, dir)
	}
	var out []comparison
	for _, c := range []struct {
		codec      string
		level      int
		wall, size float64
	}{{"gzip", 9, 0.4, 1.03}, {"gzip", 6, 0.4, 1.03}, {"zstd", 3, 0.9, 1.03}, {"zstd", 7, 0.9, 1.03}, {"zstd", 15, 0.9, 1.03},
		{"lz4", 1, 0.9, 1.03}} {
		level := fmt.Sprint(c.level)
		args, tar2sqfs := "-comp "+c.codec+" -Xcompression-level "+level, " -X level="+level
		if c.codec == "lz4" { // has one level, and a switch for another
			args, tar2sqfs = "-comp lz4", ""
		}
		out = append(out, comparison{name: fmt.Sprintf("debian12 from OCI to SIF, %s %s", c.codec, level), wall: c.wall, size: c.size,
			ours: side{name: "cfbuild sif convert", before: prepare, makes: in("ours.sif"),
				run: []string{"sh", "-ec", `rm -f "$0"; exec "$@"`, in("ours.sif"), cfbuild, "sif", "convert", in("debian12"), in("ours.sif"), "--compression", c.codec, "--level", level}},
			peers: []side{
				{name: "apptainer build", makes: in("theirs.sif"), userns: true, run: []string{"sh", "-ec",
					`rm -f theirs.sif; HOME=$0 APPTAINER_CACHEDIR=$0 exec "$1" build --disable-cache --mksquashfs-args "$2" theirs.sif oci-archive:image.tar`, dir, apptainer + "/usr/bin/apptainer", args}},
				{name: "mksquashfs, of the tree", makes: in("tree.sqfs"), run: []string{"sh", "-ec", "rm -f tree.sqfs; exec mksquashfs tree tree.sqfs -no-progress -quiet " + args}},
				{name: "tar2sqfs, of an archive", makes: in("layer.sqfs"), run: []string{"sh", "-ec", "exec tar2sqfs -f -q -c " + c.codec + tar2sqfs + " layer.sqfs < layer.tar"}},
			}})
	}
	for i := range out {
		for j := range out[i].peers {
			p := &out[i].peers[j]
			p.run = append([]string{"env", "-C", dir}, p.run...)
		}
	}
	return out, nil
}
