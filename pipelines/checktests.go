package pipelines

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// TestKind is the kind of a test: file, package, user, command, env, label,
// platform; "" for nil.
func TestKind(t Test) string {
	if t, _ = Declared(t); t == nil {
		return ""
	}
	return t.testKind()
}

// TestName says in a few words what a test looks at: "package curl". Two tests of a
// target may have the same name.
func TestName(t Test) string {
	t, _ = Declared(t)
	switch t := t.(type) {
	case TestFile:
		return but("file "+t.Path, t.Absent)
	case TestPackage:
		return but("package "+t.Name, t.Absent)
	case TestUser:
		return but("user "+t.Name, t.Absent)
	case TestCommand:
		name := t.Name
		if name == "" {
			name = stepName(Run{Shell: t.Shell, Args: t.Args})
			name = strings.TrimPrefix(name, "run ")
		}
		return "command " + name
	case TestEnv:
		return but("env "+t.Name, t.Absent)
	case TestLabel:
		return "label " + t.Name
	case TestPlatform:
		return "platform of programs and libraries"
	}
	return "test"
}

func but(name string, absent bool) string {
	if absent {
		return "no " + name
	}
	return name
}

// EncodeTests writes tests as JSON, the same for equal ones: their identity. Where
// they were declared is not part of it.
func EncodeTests(ts []Test) ([]byte, error) {
	type kinded struct {
		Kind string `json:"kind"`
		Test Test   `json:"test"`
	}
	out := make([]kinded, 0, len(ts))
	for _, t := range ts {
		bare, _ := Declared(t)
		out = append(out, kinded{TestKind(t), bare})
	}
	return json.Marshal(out)
}

var uidRE = regexp.MustCompile(`^[0-9]+$`)

// CheckTests says whether the tests of a target are declared as they have to be.
// The error is an [InvalidError] with the author's line where that is known.
func CheckTests(target Target) error {
	for i, t := range target.Tests {
		bare, where := Declared(t)
		bad := func(cause, fix string) error {
			return &InvalidError{Where: where, What: fmt.Sprintf("target %q: test %d (%s)", target.Name, i+1, TestName(t)), Cause: cause, Fix: fix}
		}
		if err := checkTest(bare, bad); err != nil {
			return err
		}
	}
	return nil
}

func checkTest(t Test, bad complain) error {
	switch t := t.(type) {
	case nil:
		return bad("is nil", "")
	case TestFile:
		return checkTestFile(t, bad)
	case TestPackage:
		switch {
		case t.Name == "" || strings.ContainsAny(t.Name, " \t\n/=<>"):
			return bad(fmt.Sprintf("%q is not a package name", t.Name), "name one package; its version has a field of its own")
		case t.Absent && t.Version != "":
			return bad("asks for a version of a package that must not be there", "drop Version or Absent")
		}
		return badPattern(t.Version, bad)
	case TestUser:
		switch {
		case t.Name == "" || strings.ContainsAny(t.Name, ":\n"):
			return bad(fmt.Sprintf("%q is not a user name", t.Name), "")
		case t.UID != "" && !uidRE.MatchString(t.UID):
			return bad(fmt.Sprintf("UID %q is not a number", t.UID), "")
		case t.Absent && t.UID+t.Home+t.Shell != "":
			return bad("asks for fields of a user that must not be there", "drop them or Absent")
		case t.Home != "" && absolute(t.Home) != "":
			return bad(fmt.Sprintf("home %q %s", t.Home, absolute(t.Home)), "")
		}
	case TestCommand:
		return checkTestCommand(t, bad)
	case TestEnv:
		switch {
		case t.Name == "" || strings.ContainsAny(t.Name, "=\x00"):
			return bad(fmt.Sprintf("%q is not the name of a variable", t.Name), "Value is a field of its own")
		case t.Absent && t.Value != "":
			return bad("asks for the value of a variable that must not be set", "drop Value or Absent")
		}
	case TestLabel:
		if t.Name == "" {
			return bad("names no label", "")
		}
	case TestPlatform:
		for _, p := range t.Except {
			if !strings.HasPrefix(p, "/") {
				return bad(fmt.Sprintf("pattern %q is not absolute", p), "begin it with /")
			}
			if err := badPattern(p, bad); err != nil {
				return err
			}
		}
	}
	return nil
}

func badPattern(p string, bad complain) error {
	if _, err := path.Match(p, ""); err != nil {
		return bad(fmt.Sprintf("pattern %q: %v", p, err), "it is matched as path.Match does: *, ?, [a-z]")
	}
	return nil
}

func checkTestFile(t TestFile, bad complain) error {
	if why := absolute(t.Path); why != "" {
		return bad(fmt.Sprintf("path %q %s", t.Path, why), "")
	}
	content := len(t.Contains)+len(t.Lacks) > 0
	switch {
	case t.Absent && (t.Dir || t.Link != "" || t.Mode != 0 || t.Owner != "" || content):
		return bad("asks for properties of a file that must not be there", "drop them or Absent")
	case t.Dir && t.Link != "":
		return bad("is to be a directory and a symbolic link", "drop Dir or Link")
	case content && (t.Dir || t.Link != ""):
		return bad("asks for the content of something that is not a regular file", "drop Contains and Lacks, or Dir and Link")
	case slices.Contains(t.Contains, "") || slices.Contains(t.Lacks, ""):
		return bad("an empty string is in every file", "drop it from Contains and Lacks")
	case t.Mode > 0o7777:
		return bad(fmt.Sprintf("mode %#o is more than permission bits", t.Mode), "write Unix numbers such as 0644 or 04755")
	case t.Mode != 0 && t.Link != "":
		return bad("a symbolic link has no mode of its own", "drop Mode")
	case t.Owner != "" && !ownerRE.MatchString(t.Owner):
		return bad(fmt.Sprintf("owner %q is not uid:gid in numbers", t.Owner), "")
	}
	return nil
}

func checkTestCommand(t TestCommand, bad complain) error {
	switch {
	case (t.Shell == "") == (len(t.Args) == 0):
		return bad("needs exactly one of Shell and Args", "Shell is a script, Args a command and its arguments")
	case len(t.Args) > 0 && t.Args[0] == "":
		return bad("Args names no program", "")
	case t.ExitCode < 0 || t.ExitCode > 255:
		return bad(fmt.Sprintf("exit code %d is not one of 0 to 255", t.ExitCode), "")
	case t.Network != "" && t.Network != NetworkHost && t.Network != NetworkNone:
		return bad(fmt.Sprintf("network %q is unknown", t.Network), "use pipelines.NetworkHost or pipelines.NetworkNone")
	case t.Timeout < 0:
		return bad("timeout is negative", "")
	case slices.Contains(t.Output, ""):
		return bad("an empty string is in every output", "drop it from Output")
	}
	return nil
}
