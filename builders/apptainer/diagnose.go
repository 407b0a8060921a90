package apptainer

import (
	"errors"
	"strings"
	"syscall"

	"github.com/cfbuild/cfbuild/builders"
)

// Error is a failed apptainer build: what it comes from, where that is known, else the
// last it said.
type Error struct {
	// What is the cause in our words; Said the lines Apptainer wrote, oldest first.
	What string
	Said []string
	Fix  string
	Err  error
}

func (e *Error) Error() string {
	s := "builder apptainer: " + e.What
	for _, l := range e.Said {
		s += "\n    " + l
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Hint is what to do about it.
func (e *Error) Hint() string { return e.Fix }

// cause is a known message of Apptainer 1.1 to 1.4, often about something else than what
// is wrong.
type cause struct {
	says      []string // all of them
	what, fix string
	// here: nothing can be built on this machine.
	here bool
	err  error
}

func causes() []cause {
	return []cause{
		{says: []string{"no space left on device"}, what: "the disk is full", fix: "put the state elsewhere with --state-dir, or make room: cfbuild cache prune", err: syscall.ENOSPC},
		{says: []string{"disk quota exceeded"}, what: "the disk quota is used up", fix: "put the state elsewhere with --state-dir, or make room: cfbuild cache prune", err: syscall.EDQUOT},
		{says: []string{"requesting capability set", "permitted capability set"}, here: true, what: "root has not all rights here (in containers CAP_SYS_RESOURCE is missing), and Apptainer asks for all",
			fix: "run as an ordinary user with subordinate ids, or give the container all capabilities. " + noneNeeded},
		{says: []string{"no mapping entry found in /etc/subuid"}, here: true, what: "the user has no subordinate ids", fix: "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"},
		{says: []string{"newuidmap"}, here: true, what: "newuidmap does not work", fix: "as root: apt-get install uidmap (dnf install shadow-utils)"},
		{says: []string{"/dev/fuse"}, here: true, what: "/dev/fuse cannot be used", fix: "as root: modprobe fuse; chmod 666 /dev/fuse; in a container: --device /dev/fuse. " + noneNeeded},
		{says: []string{"mount /proc: operation not permitted"}, here: true, what: "a container that hides parts of /proc keeps Apptainer from having its own",
			fix: "run the container with --security-opt systempaths=unconfined, or privileged. " + noneNeeded},
		{says: []string{"mounts: "}, here: true, what: "the mounts that Apptainer is run with cannot be made", fix: noneNeeded},
		{says: []string{"mksquashfs", "not found"}, here: true, what: "mksquashfs is not installed", fix: "as root: apt-get install squashfs-tools"},
		{says: []string{"noexec", "mount option set"}, here: true, what: "the state directory is on a file system that runs no programs (noexec)", fix: "put the state elsewhere with --state-dir"},
		{says: []string{"could not open image", "no such file or directory"}, what: "Apptainer does not see a file that it is to start from"},
		{says: []string{"does not match the requested architecture"}, what: "the image is for another architecture", fix: "build it on such a machine: Apptainer ignores --arch for bootstrap agents"},
		{says: []string{"exec format error"}, what: "the image's programs are for another architecture, or its /bin/sh is missing", fix: "build it on such a machine, or without --builder apptainer, which emulates it"},
		{says: []string{"token too long"}, what: "a section of the definition file is larger than Apptainer reads", fix: "put long scripts in files"},
	}
}

// known finds the cause of what Apptainer said.
func known(said []string) *cause {
	text := strings.ToLower(strings.Join(said, "\n"))
next:
	for _, c := range causes() {
		for _, s := range c.says {
			if !strings.Contains(text, s) {
				continue next
			}
		}
		return &c
	}
	return nil
}

// diagnose turns a failed run into an error that says what is wrong. Errors that are no
// exit statuses say so themselves.
func diagnose(err error, said []string) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return err
	}
	said = said[max(0, len(said)-kept):]
	c := known(said)
	switch {
	case c == nil:
		return &Error{What: "apptainer build failed: " + err.Error(), Said: said, Err: err}
	case c.here:
		reason := c.what
		if len(said) > 0 {
			reason += ": " + said[len(said)-1]
		}
		return &builders.UnavailableError{Builder: Name, Reason: reason, Fix: c.fix}
	}
	cause := err
	if c.err != nil {
		cause = c.err
	}
	return &Error{What: c.what, Said: said, Fix: c.fix, Err: cause}
}
