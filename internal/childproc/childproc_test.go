package childproc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain is the child as well: its name says what it does.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "echo":
		var v map[string]string
		if err := json.NewDecoder(os.Stdin).Decode(&v); err != nil {
			os.Exit(3)
		}
		fmt.Printf("%q\n%q\n", v["a"], strings.Join(os.Environ(), " ")+strings.Join(os.Args, " "))
		os.Exit(0)
	case "fail":
		fmt.Fprintln(os.Stderr, "no such luck")
		os.Exit(7)
	case "obey":
		fmt.Println(os.Getpid())
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "stubborn":
		fmt.Println(os.Getpid())
		time.Sleep(time.Hour)
	}
	os.Exit(m.Run())
}

func TestRequestAndAnswer(t *testing.T) {
	var got []string
	err := Run(t.Context(), Command{Path: "/proc/self/exe", Name: "echo", Request: map[string]string{"a": "sesame"},
		Line: func(b []byte) error { got = append(got, string(b)); return nil }})
	if err != nil || len(got) != 2 || got[0] != `"sesame"` {
		t.Fatalf("got %q, %v", got, err)
	}
	if strings.Contains(got[1], "sesame") {
		t.Fatal("the request reached the child's arguments or environment")
	}
}

func TestExitError(t *testing.T) {
	var log bytes.Buffer
	err := Run(t.Context(), Command{Path: "/proc/self/exe", Name: "fail", Line: func([]byte) error { return nil }, Log: &log})
	var e *ExitError
	if !errors.As(err, &e) || !strings.Contains(e.Tail, "no such luck") || !strings.Contains(log.String(), "no such luck") {
		t.Fatalf("got %v, log %q", err, log.String())
	}
}

func TestCancelAsksFirst(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var pid int
	err := Run(ctx, Command{Path: "/proc/self/exe", Name: "obey", Line: func(b []byte) error {
		_, err := fmt.Sscan(string(b), &pid)
		cancel()
		return err
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("child %d still there: %v", pid, err)
	}
}

func TestCancelKillsTheStubborn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var pid int
	err := Run(ctx, Command{Path: "/proc/self/exe", Name: "stubborn", Grace: 20 * time.Millisecond, Line: func(b []byte) error {
		_, err := fmt.Sscan(string(b), &pid)
		cancel()
		return err
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("child %d still there: %v", pid, err)
	}
}
