package pipelines

import "time"

// Test is one check of a finished image, declared with its [Target] and run by
// cfbuild run --test for every platform. The set is closed: TestFile,
// TestPackage, TestUser, TestCommand, TestEnv, TestLabel, TestPlatform.
type Test interface{ testKind() string }

// TestFile checks one path without running anything.
type TestFile struct {
	// Path is absolute. Symbolic links are followed within the image unless Link
	// is set.
	Path string `json:"path"`
	// Absent: there must be nothing at Path; all else is ignored.
	Absent bool `json:"absent,omitempty"`
	// Dir: Path must be a directory. Default: a regular file.
	Dir bool `json:"dir,omitempty"`
	// Link is what the symbolic link Path must point to.
	Link string `json:"link,omitempty"`
	// Mode in Unix numbers (04755), Owner as "uid:gid"; empty: not checked.
	Mode  uint32 `json:"mode,omitempty"`
	Owner string `json:"owner,omitempty"`
	// Contains are strings the content must hold, Lacks those it must not.
	Contains []string `json:"contains,omitempty"`
	Lacks    []string `json:"lacks,omitempty"`
}

// TestPackage checks the package database of the image (dpkg, rpm, apk) without
// running anything where its format allows.
type TestPackage struct {
	Name string `json:"name"`
	// Version is a path.Match pattern, empty: any.
	Version string `json:"version,omitempty"`
	// Absent: the package must not be installed.
	Absent bool `json:"absent,omitempty"`
}

// TestUser checks one line of /etc/passwd.
type TestUser struct {
	Name string `json:"name"`
	// UID in decimal, Home and Shell; empty: not checked.
	UID   string `json:"uid,omitempty"`
	Home  string `json:"home,omitempty"`
	Shell string `json:"shell,omitempty"`
	// Absent: there must be no such user.
	Absent bool `json:"absent,omitempty"`
}

// TestCommand runs a command in the image with its configuration (environment,
// user, working directory; not its entrypoint); what it writes is thrown away. Of a
// line of output that was written over (a progress bar) the last state counts.
type TestCommand struct {
	// Name is shown in reports; default: the command.
	Name string `json:"name,omitempty"`
	// Shell is a script for /bin/sh -e, Args a command without a shell. Exactly
	// one of them is set.
	Shell string   `json:"shell,omitempty"`
	Args  []string `json:"args,omitempty"`
	// ExitCode that is expected, default 0.
	ExitCode int `json:"exit_code,omitempty"`
	// Output are strings that the output (both streams) must hold.
	Output []string `json:"output,omitempty"`
	// Network defaults to NetworkNone.
	Network Network `json:"network,omitempty"`
	// Timeout ends the command as failed; default 5 minutes.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// TestEnv checks a variable of the image's configuration.
type TestEnv struct {
	Name string `json:"name"`
	// Value must be equal; with Absent the variable must not be set.
	Value  string `json:"value,omitempty"`
	Absent bool   `json:"absent,omitempty"`
}

// TestLabel checks a label of the image's configuration.
type TestLabel struct {
	Name string `json:"name"`
	// Value must be equal; empty: any, the label has to be there.
	Value string `json:"value,omitempty"`
}

// TestPlatform checks that every ELF program and library of the image is for the
// image's platform, by its header, and that the configuration says so too.
type TestPlatform struct {
	// Except are path.Match patterns of files for other platforms.
	Except []string `json:"except,omitempty"`
}

func (TestFile) testKind() string     { return "file" }
func (TestPackage) testKind() string  { return "package" }
func (TestUser) testKind() string     { return "user" }
func (TestCommand) testKind() string  { return "command" }
func (TestEnv) testKind() string      { return "env" }
func (TestLabel) testKind() string    { return "label" }
func (TestPlatform) testKind() string { return "platform" }

// Tests gives its arguments as [Target.Tests] takes them, with the author's line for
// errors and reports. A list without it works too; its line is not known.
func Tests(ts ...Test) []Test {
	where := caller()
	out := make([]Test, len(ts))
	for i, t := range ts {
		out[i] = declared{t, where}
	}
	return out
}

// declared is a test with the line it was declared at.
type declared struct {
	Test
	where Position
}

// Declared gives a test itself and the line it was declared at.
func Declared(t Test) (Test, Position) {
	var where Position
	for {
		d, ok := t.(declared)
		if !ok {
			return t, where
		}
		t, where = d.Test, d.where
	}
}
