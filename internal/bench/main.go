// Command bench times cfbuild beside its peers from Debian's packages, in turn in
// one run, and prints medians and ratios. Times on one machine move together, so
// only the ratios are worth quoting.
//
//	go run ./internal/bench -cfbuild bin/cfbuild -five bin/fiverun -n 5
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// side is one contender: a command, and what brings its world back to the start.
type side struct {
	name   string
	before func() error
	run    []string
	makes  string // file whose size is compared, empty for none
	// userns runs it in a user namespace that maps every owner to itself, where root's
	// apptainer build works without CAP_SYS_RESOURCE.
	userns bool
	// goal for ours/this of the wall clock, where it is not the comparison's; 0 for none.
	goal float64
}

// sample is one timed run: seconds, the largest process's memory in MB, and the size
// of what it made in MB.
type sample struct{ wall, cpu, mem, size float64 }

type comparison struct {
	name     string
	ours     side
	peers    []side
	wall     float64 // goal for ours/first peer, 0 for none
	cpu      float64
	size     float64
	absolute string
}

func main() {
	cfbuild := flag.String("cfbuild", "bin/cfbuild", "the program")
	five := flag.String("five", "bin/fiverun", "the five-step program")
	n := flag.Int("n", 5, "runs of each")
	only := flag.String("only", "", "comparisons whose name holds this, such as SIF")
	mirror := flag.String("mirror", "", "Debian mirror the peers use; default: this machine's")
	where := flag.String("work", "", "work directory; default: memory (/dev/shm) where there is room, so that neither side waits for the disk")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, *cfbuild, *five, *mirror, *only, *where, *n); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, cfbuild, five, mirror, only, where string, n int) (err error) {
	var fs syscall.Statfs_t
	if where == "" && syscall.Statfs("/dev/shm", &fs) == nil && fs.Bavail*uint64(fs.Bsize) > 6<<30 {
		where = "/dev/shm"
	}
	work, err := os.MkdirTemp(where, "cfbuild-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.Setenv("TMPDIR", work); err != nil { // the peers' work goes there too
		return err
	}
	fmt.Println("work directory:", work)
	if mirror == "" {
		if mirror, err = machineMirror("/etc/apt"); err != nil {
			return err
		}
	}
	for _, p := range []*string{&cfbuild, &five} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	d := &daemons{ctx: ctx}
	defer func() { err = errors.Join(err, d.end()) }()
	all, err := comparisons(cfbuild, five, mirror, work, d)
	if err != nil {
		return err
	}
	for _, c := range all {
		if !strings.Contains(c.name, only) {
			continue
		}
		if err := compare(ctx, c, n); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// compare runs the contenders in turn, A B A B …, so that a machine that slows
// down slows both.
func compare(ctx context.Context, c comparison, n int) error {
	sides := append([]side{c.ours}, c.peers...)
	results := make([][]sample, len(sides))
	for range n {
		for i, s := range sides {
			if s.before != nil {
				if err := s.before(); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
			r, err := timed(ctx, s.run, s.userns)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if s.makes != "" {
				st, err := os.Stat(s.makes)
				if err != nil {
					return err
				}
				r.size = float64(st.Size()) / 1e6
			}
			results[i] = append(results[i], r)
		}
	}
	fmt.Printf("\n%s (median of %d)\n", c.name, n)
	ours := medians(results[0])
	for i, s := range sides {
		m := medians(results[i])
		fmt.Printf("  %-40s wall %7.3f s  cpu %7.3f s  largest process %5.0f MB", s.name, m.wall, m.cpu, m.mem)
		if m.size > 0 {
			fmt.Printf("  made %.1f MB", m.size)
		}
		if i > 0 {
			fmt.Printf("   ours/this: wall %.2f  cpu %.2f", ours.wall/m.wall, ours.cpu/m.cpu)
			if m.size > 0 {
				fmt.Printf("  size %.3f%s", ours.size/m.size, goal("size", ours.size/m.size, c.size))
			}
			if i == 1 {
				fmt.Print(goal("wall", ours.wall/m.wall, c.wall), goal("cpu", ours.cpu/m.cpu, c.cpu))
			}
			fmt.Print(goal("wall", ours.wall/m.wall, s.goal))
		}
		fmt.Println()
	}
	if c.absolute != "" {
		fmt.Println("  goal:", c.absolute)
	}
	return nil
}

func goal(what string, got, want float64) string {
	switch {
	case want == 0:
		return ""
	case got <= want:
		return fmt.Sprintf("  [%s <= %.2f met]", what, want)
	}
	return fmt.Sprintf("  [%s <= %.2f MISSED]", what, want)
}

// timed runs a command to its end. CPU time and memory are the kernel's account
// of it and of every descendant it waited for.
func timed(ctx context.Context, argv []string, userns bool) (sample, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if userns {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true}
	}
	var tail strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &tail
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start).Seconds()
	if err != nil {
		out := tail.String()
		return sample{}, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out[max(0, len(out)-2000):])
	}
	ru := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	return sample{wall, cpu.Seconds(), float64(ru.Maxrss) / 1024, 0}, nil
}

func medians(all []sample) sample {
	pick := func(f func(sample) float64) float64 {
		var v []float64
		for _, s := range all {
			v = append(v, f(s))
		}
		slices.Sort(v)
		if len(v)%2 == 1 {
			return v[len(v)/2]
		}
		return (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return sample{pick(func(s sample) float64 { return s.wall }), pick(func(s sample) float64 { return s.cpu }), pick(func(s sample) float64 { return s.mem }),
		pick(func(s sample) float64 { return s.size })}
}

// machineMirror reads the Debian mirror from the machine's own apt sources.
func machineMirror(apt string) (string, error) {
	files, _ := filepath.Glob(filepath.Join(apt, "sources.list.d", "*.sources"))
	lists, _ := filepath.Glob(filepath.Join(apt, "sources.list*", "*.list"))
	for _, f := range append(append(files, lists...), filepath.Join(apt, "sources.list")) {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			for _, word := range strings.Fields(line) {
				if strings.HasPrefix(word, "http") && strings.HasSuffix(strings.TrimRight(word, "/"), "/debian") && !strings.HasPrefix(line, "#") {
					return word, nil
				}
			}
		}
	}
	return "", fmt.Errorf("no Debian mirror in %s; name one with -mirror", apt)
}
