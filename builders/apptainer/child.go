package apptainer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/internal/loopback"
)

// Child says whether this process is a copy that the builder started, and has done its
// work then. Main calls it before anything else.
func Child() bool {
	if len(os.Args) == 0 {
		return false
	}
	switch os.Args[0] {
	case waitingName:
		// The request comes when the ids are mapped. It stays in the pipe: one byte is
		// enough to know, and a JSON object begins with a brace.
		var b [1]byte
		if n, err := os.Stdin.Read(b[:]); err != nil || n != 1 || b[0] != '{' {
			os.Exit(codeSetup)
		}
		// archtest: allow the same program goes on, with the same environment
		err := syscall.Exec("/proc/self/exe", []string{firstName, "{"}, os.Environ())
		fmt.Fprintln(os.Stderr, "start again:", err)
		os.Exit(codeSetup)
	case firstName:
		first()
	default:
		return false
	}
	return true
}

// first is the first process of the namespaces. It does not return.
func first() {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	var e errand
	if err == nil {
		err = json.Unmarshal(append([]byte(strings.Join(os.Args[1:], "")), line...), &e)
	}
	if err != nil {
		os.Exit(codeSetup) // whoever started it has gone
	}
	go func() { // the end of the input means that nobody waits any more
		_, _ = io.Copy(io.Discard, in)
		os.Exit(137)
	}()
	if e.Remove != "" {
		if err := os.RemoveAll(e.Remove); err != nil {
			fail("remove", err)
		}
		os.Exit(0)
	}
	if e.NoNetwork {
		if err := loopback.Up(); err != nil {
			fail("loopback", err)
		}
	}
	place, err := furnish(e)
	if err != nil {
		fail("mounts", err)
	}
	os.Exit(serve(e, place))
}

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	os.Exit(codeSetup)
}

// serve starts the program and waits for it; processes that lost their parent are
// waited for too.
func serve(e errand, place string) int {
	work := filepath.Join(place, "work")
	null, err := os.Open("/dev/null")
	if err != nil {
		fail("/dev/null", err)
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + work + "/home", "TMPDIR=" + work + "/tmp",
		"APPTAINER_TMPDIR=" + work + "/tmp", "APPTAINER_CACHEDIR=" + work + "/cache", "LC_ALL=C"}
	p, err := os.StartProcess(e.Program, append([]string{e.Program}, e.Args...), &os.ProcAttr{Dir: work, Env: append(env, e.Env...),
		Files: []*os.File{null, os.Stdout, os.Stderr}})
	if err != nil {
		fail("start", err)
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return codeSetup
		case pid == p.Pid && status.Signaled():
			return 128 + int(status.Signal())
		case pid == p.Pid:
			return status.ExitStatus()
		}
	}
}
