package lint_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cfbuild/cfbuild/internal/golden"
	"github.com/cfbuild/cfbuild/lint"
	"github.com/cfbuild/cfbuild/pipelines"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/xeipuuv/gojsonschema"
)

// planted has a finding of each kind: with and without a line, a layer, a step.
func planted() lint.Report {
	both := []pipelines.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
	line := pipelines.Position{File: "/src/base/images/app image.go", Line: 12}
	digest := "sha256:" + strings.Repeat("1f", 32)
	fs := []lint.Finding{
		{Rule: lint.PrivateKey, Name: "private-key", Severity: lint.Error, Source: "NCCS 2.12", Message: "/root/id is a private key", Fix: "remove it", Image: "app", Platforms: both,
			Subject: "/root/id", Path: "/root/id", Step: "run make", Where: line, Layer: digest, Fingerprint: "a1"},
		{Rule: lint.NeedlessTool, Name: "needless-tool", Severity: lint.Warning, Source: "NCCS 2", Message: "/usr/bin/sudo is there", Fix: "remove it", Image: "app", Platforms: both[1:],
			Subject: "sudo", Path: "/usr/bin/sudo", Where: line, Layer: digest, Fingerprint: "b2"},
		{Rule: lint.SetuidUnexpected, Name: "setuid", Severity: lint.Warning, Source: "NCCS 2", Message: "/opt/x is setuid", Fix: "chmod", Image: "app", Platforms: both, Subject: "/opt/x", Path: "/opt/x", Layer: digest, Fingerprint: "c3"},
		{Rule: lint.LatestAlone, Name: "latest-alone", Severity: lint.Warning, Source: "NCCS 2", Message: "latest", Fix: "tag", Image: "registry.example/x:latest", Subject: "tag", Fingerprint: "d4"},
		{Rule: lint.RootUser, Name: "root-user", Severity: lint.Info, Source: "NCCS 3", Message: "root", Fix: "set User", Image: "registry.example/x:latest", Platforms: both[:1], Subject: "user", Fingerprint: "e5"},
	}
	setuid, err := lint.ParseIgnore("setuid:/opt")
	if err != nil {
		panic(err)
	}
	setuid.From, setuid.Why = "target app", "its vendor ships it so"
	unused, _ := lint.ParseIgnore("CFB509")
	unused.From = "--ignore CFB509"
	return lint.NewReport([]lint.Subject{{Image: "app", Platform: both[0], Digest: digest}, {Image: "app", Platform: both[1], Digest: digest}, {Image: "registry.example/x:latest", Platform: both[0]}},
		fs, []lint.Ignore{setuid, unused})
}

// rooted names files relative to /src/base.
func rooted(at pipelines.Position) string { return strings.TrimPrefix(at.File, "/src/base/") }

func TestTextAndJSON(t *testing.T) {
	var text, j bytes.Buffer
	if err := planted().WriteText(&text, rooted); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "report.txt", text.Bytes())
	r := planted()
	if err := r.WriteJSON(&j, rooted); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "report.json", j.Bytes())
	for least, want := range map[lint.Severity]string{lint.Warning: `failures="2"`, lint.Error: `failures="1"`, lint.Error + 1: `failures="0"`} {
		var x bytes.Buffer
		if err := planted().WriteJUnit(&x, least, rooted); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(x.String(), `<testsuite name="lint app for linux/amd64, linux/arm64" tests="`+strconv.Itoa(len(lint.Rules()))+`" `+want) ||
			!strings.Contains(x.String(), `file="images/app image.go:12"`) {
			t.Errorf("failing from %d: %s", least, x.String())
		}
	}
	if r.Findings[0].Where.File != "/src/base/images/app image.go" {
		t.Error("writing changed the report")
	}
	var back lint.Report
	if err := json.Unmarshal(j.Bytes(), &back); err != nil || back.Findings[0].Severity != lint.Error || len(back.Ignored) != 1 {
		t.Errorf("%v %+v", err, back)
	}
}

// The log is valid by OASIS's schema of SARIF 2.1.0, and holds nothing that the
// schema does not know.
func TestSARIF(t *testing.T) {
	schema := sarifSchema(t)
	for name, r := range map[string]lint.Report{"findings": planted(), "none": lint.NewReport(nil, nil, nil)} {
		var b bytes.Buffer
		if err := r.WriteSARIF(&b, "v1.2.3", rooted); err != nil {
			t.Fatal(err)
		}
		var log sarif.Report
		dec := json.NewDecoder(bytes.NewReader(b.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&log); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b.Bytes())
		}
		validate(t, schema, name, b.Bytes(), true)
		run := log.Runs[0]
		if len(run.Results) != len(r.Findings)+len(r.Ignored) || len(run.Tool.Driver.Rules) != len(lint.Rules()) {
			t.Fatalf("%s: %d results, %d rules", name, len(run.Results), len(run.Tool.Driver.Rules))
		}
		for _, res := range run.Results {
			if *run.Tool.Driver.Rules[res.RuleIndex].ID != *res.RuleID {
				t.Errorf("rule index %d is not %s", res.RuleIndex, *res.RuleID)
			}
		}
		if name == "findings" {
			golden.Check(t, "results.sarif.json", results(t, b.Bytes()))
			if n := len(run.Results); len(run.Results[n-1].Suppressions) != 1 {
				t.Error("the ignored finding is not suppressed")
			}
		}
	}
	validate(t, schema, "a run without a tool", []byte(`{"version": "2.1.0", "runs": [{"results": []}]}`), false)
	validate(t, schema, "a level of GitLab", []byte(`{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": [{"message": {"text": "x"}, "level": "minor"}]}]}`), false)
}

// validate wants a document to be valid by a schema, or not.
func validate(t *testing.T, schema, name string, document []byte, valid bool) {
	t.Helper()
	res, err := gojsonschema.Validate(gojsonschema.NewStringLoader(schema), gojsonschema.NewBytesLoader(document))
	if err != nil {
		t.Fatal(err)
	}
	if res.Valid() != valid {
		t.Errorf("%s: valid is %v: %v", name, res.Valid(), res.Errors())
	}
}

// sarifSchema is OASIS's schema, as the module go-sarif carries it in its source.
func sarifSchema(t *testing.T) string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif").Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "schema.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	schema := ""
	ast.Inspect(f, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && len(l.Value) > len(schema) {
			schema = strings.Trim(l.Value, "`")
		}
		return true
	})
	if !strings.Contains(schema, "Static Analysis Results Format (SARIF) Version 2.1.0 JSON Schema") {
		t.Fatal("the schema is not where it was")
	}
	return schema
}

// results leaves the rules out: docs/lint.md has them.
func results(t *testing.T, log []byte) []byte {
	var v struct {
		Runs []struct{ Results json.RawMessage }
	}
	if err := json.Unmarshal(log, &v); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	json.Indent(&out, v.Runs[0].Results, "", "  ")
	return append(out.Bytes(), '\n')
}

// GitLab publishes no schema of its code quality report: these are the fields that
// its documentation asks for.
func TestCodeQuality(t *testing.T) {
	var b bytes.Buffer
	r := planted()
	if err := r.WriteCodeQuality(&b, rooted); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "codequality.json", b.Bytes())
	var entries []map[string]any
	if err := json.Unmarshal(b.Bytes(), &entries); err != nil || len(entries) != len(r.Findings) {
		t.Fatalf("%v: %d entries", err, len(entries))
	}
	seen := map[string]bool{}
	for _, e := range entries {
		for _, k := range []string{"description", "check_name", "fingerprint"} {
			if s, _ := e[k].(string); s == "" {
				t.Errorf("%s is no text: %v", k, e)
			}
		}
		if s := fmt.Sprint(e["severity"]); !slices.Contains([]string{"info", "minor", "major", "critical", "blocker"}, s) {
			t.Errorf("severity %s", s)
		}
		at, _ := e["location"].(map[string]any)
		p, _ := at["path"].(string)
		lines, _ := at["lines"].(map[string]any)
		if begin, _ := lines["begin"].(float64); p == "" || strings.HasPrefix(p, "/") || strings.HasPrefix(p, "./") || begin < 1 {
			t.Errorf("location %v", at)
		}
		if f := fmt.Sprint(e["fingerprint"]); seen[f] {
			t.Errorf("fingerprint %s is there twice", f)
		} else {
			seen[f] = true
		}
	}
	b.Reset()
	if err := lint.NewReport(nil, nil, nil).WriteCodeQuality(&b, nil); err != nil || strings.TrimSpace(b.String()) != "[]" {
		t.Errorf("no findings: %q, %v", b.String(), err)
	}
}

func TestWorst(t *testing.T) {
	r := planted()
	if r.Summary() != "1 error, 2 warnings, 1 info; 1 ignored" {
		t.Error(r.Summary())
	}
	if !r.Worst(lint.Error) || !r.Worst(lint.Warning) || r.Worst(lint.Error+1) {
		t.Error("the worst is an error")
	}
	if lint.NewReport(nil, r.Findings[3:], nil).Worst(lint.Warning) {
		t.Error("an info is no warning")
	}
}

func TestIgnore(t *testing.T) {
	for _, bad := range []string{"CFB999", "setuidd:/x", "setuid:[", ""} {
		if i, err := lint.ParseIgnore(bad); err == nil {
			t.Errorf("%q: %+v", bad, i)
		}
	}
	f := lint.Finding{Rule: lint.SetuidUnexpected, Image: "app", Subject: "/usr/local/bin/x"}
	for pattern, want := range map[string]bool{"setuid": true, "CFB503:/usr/local": true, "cfb503:/usr/local/bin/*": true, "SETUID:/usr/local/b*": true,
		"setuid:/usr/bin": false, "setuid:x": false, "CFB504": false} {
		i, err := lint.ParseIgnore(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(lint.NewReport(nil, []lint.Finding{f}, []lint.Ignore{i}).Ignored) == 1; got != want {
			t.Errorf("%s: %v, want %v", pattern, got, want)
		}
	}
	is, err := lint.Accepted(pipelines.Target{Name: "other", Accepts: []pipelines.Acceptance{{Rule: "setuid", Why: "because"}}})
	if err != nil || len(lint.NewReport(nil, []lint.Finding{f}, is).Ignored) != 0 {
		t.Errorf("another target's acceptance counts: %v", err)
	}
	if _, err := lint.Accepted(pipelines.Target{Name: "x", Accepts: []pipelines.Acceptance{{Rule: "setuidd", Why: "because"}}}); err == nil || !strings.Contains(err.Error(), "target x") {
		t.Error(err)
	}
}

// Every rule is whole, and its number and name are its own.
func TestRules(t *testing.T) {
	ids, names := map[string]bool{}, map[string]bool{}
	last := ""
	for _, r := range lint.Rules() {
		if ids[r.ID] || names[r.Name] || r.ID <= last {
			t.Errorf("%s %s is there twice or out of order", r.ID, r.Name)
		}
		ids[r.ID], names[r.Name], last = true, true, r.ID
		if r.Looks == 0 || r.Source == "" || !strings.HasSuffix(r.Says, ".") || r.Fix == "" || strings.HasSuffix(r.Fix, ".") {
			t.Errorf("incomplete: %+v", r)
		}
	}
	for _, given := range []string{"CFB301", "private-key", "cfb301"} {
		if r, err := lint.Find(given); err != nil || r.ID != lint.PrivateKey {
			t.Errorf("%s: %+v %v", given, r, err)
		}
	}
}

// docs/lint.md lists the rules as they are.
func TestDocumentation(t *testing.T) {
	const file, begin, end = "../docs/lint.md", "<!-- rules -->\n", "<!-- end -->\n"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", file, begin, end)
	}
	var table strings.Builder
	table.WriteString("| rule | name | severity | looks at | asks for | source |\n|---|---|---|---|---|---|\n")
	for _, r := range lint.Rules() {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", r.ID, r.Name, r.Severity, r.Looks, strings.ReplaceAll(r.Says, "|", "\\|"), r.Source)
	}
	want := head + begin + table.String() + end + tail
	if golden.Updating() {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := golden.Diff(want, string(b)); d != "" {
		t.Errorf("%s: %s\n(go test ./lint -update writes it)", file, d)
	}
}
