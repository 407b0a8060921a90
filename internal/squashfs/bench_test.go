package squashfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cfbuild/cfbuild/internal/testneed"
)

// BenchmarkBesidePeers writes one tree with this package, mksquashfs and tar2sqfs, at
// the same codec and level, and reports size and wall time as ratios, ours/peer. The
// tree is CFBUILD_BENCH_TREE, best a Debian root in memory, or /usr/share.
func BenchmarkBesidePeers(b *testing.B) {
	source := os.Getenv("CFBUILD_BENCH_TREE")
	if source == "" {
		source = "/usr/share"
	}
	testneed.Program(b, "mksquashfs")
	testneed.Program(b, "tar2sqfs")
	for _, c := range []struct {
		o          Options
		mk, tar2sq string
	}{
		{Options{Compression: Gzip, Level: 6}, "-comp gzip -Xcompression-level 6", "-c gzip -X level=6"},
		{Options{Compression: Gzip, Level: 9}, "-comp gzip -Xcompression-level 9", "-c gzip -X level=9"},
		{Options{Compression: Zstd, Level: 3}, "-comp zstd -Xcompression-level 3", "-c zstd -X level=3"},
		{Options{Compression: Zstd, Level: 15}, "-comp zstd -Xcompression-level 15", "-c zstd -X level=15"},
		{Options{Compression: LZ4}, "-comp lz4", "-c lz4"},
		{Options{Compression: LZ4, Level: 2}, "-comp lz4 -Xhc", "-c lz4 -X hc"},
		{Options{Compression: XZ}, "-comp xz", "-c xz"},
	} {
		b.Run(fmt.Sprintf("%v-%d", c.o.Compression, c.o.Level), func(b *testing.B) {
			dir := b.TempDir()
			image := filepath.Join(dir, "image")
			run := func(script string) (time.Duration, int64) {
				os.Remove(image)
				start := time.Now()
				if out, err := exec.Command("sh", "-c", script, "sh", source, image).CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				return time.Since(start), fileSize(b, image)
			}
			var wall [3]time.Duration
			var size [3]int64
			for b.Loop() {
				for i, script := range []string{"", `mksquashfs "$1" "$2" -no-progress -quiet ` + c.mk,
					`tar --xattrs -C "$1" -cf - . | tar2sqfs -q ` + c.tar2sq + ` "$2"`} {
					var d time.Duration
					if i == 0 {
						start := time.Now()
						if err := writeImage(c.o, source, image); err != nil {
							b.Fatal(err)
						}
						d, size[0] = time.Since(start), fileSize(b, image)
					} else {
						d, size[i] = run(script)
					}
					wall[i] += d
				}
			}
			for i, peer := range []string{"", "mksquashfs", "tar2sqfs"} {
				if i > 0 {
					b.ReportMetric(float64(size[0])/float64(size[i]), "size/"+peer)
					b.ReportMetric(wall[0].Seconds()/wall[i].Seconds(), "wall/"+peer)
				}
			}
		})
	}
}

func fileSize(b *testing.B, path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return st.Size()
}
