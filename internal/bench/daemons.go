package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// daemons start and end as they do in tests, with what starts them there.
type daemons struct {
	testing.TB // of which what is not below is not used
	ctx        context.Context
	cleanups   []func()
	failed     error
}

// failure ends what was to start.
type failure struct{ error }

// try calls start and gives what it failed with.
func (d *daemons) try(start func(testing.TB)) (err error) {
	defer func() {
		switch f := recover().(type) {
		case nil:
			err = d.failed
		case failure:
			err = f.error
		default:
			panic(f)
		}
	}()
	start(d)
	return nil
}

// end ends them, the last one first.
func (d *daemons) end() error {
	for len(d.cleanups) > 0 {
		last := d.cleanups[len(d.cleanups)-1]
		d.cleanups = d.cleanups[:len(d.cleanups)-1]
		if err := d.try(func(testing.TB) { last() }); err != nil {
			d.failed = errors.Join(d.failed, err)
		}
	}
	return d.failed
}

func (d *daemons) Cleanup(f func())         { d.cleanups = append(d.cleanups, f) }
func (d *daemons) Context() context.Context { return d.ctx }
func (d *daemons) Failed() bool             { return d.failed != nil }
func (d *daemons) Helper()                  {}

func (d *daemons) Fatal(args ...any)                 { panic(failure{errors.New(line(args))}) }
func (d *daemons) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (d *daemons) Skip(args ...any)                  { d.Fatal(args...) }
func (d *daemons) Error(args ...any)                 { d.failed = errors.Join(d.failed, errors.New(line(args))) }
func (d *daemons) Errorf(format string, args ...any) { d.Error(fmt.Sprintf(format, args...)) }
func (d *daemons) Log(args ...any)                   { fmt.Fprintln(os.Stderr, args...) }
func (d *daemons) Logf(format string, args ...any)   { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func line(args []any) string { return strings.TrimSpace(fmt.Sprintln(args...)) }

func (d *daemons) TempDir() string {
	dir, err := os.MkdirTemp("", "t")
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			d.Error(err)
		}
	})
	return dir
}
