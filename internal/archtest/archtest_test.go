// Package archtest holds the import table of ARCHITECTURE.md as a test, and the
// rules that keep libraries free of hidden inputs.
package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cfbuild/cfbuild/"

// table: what each room may import of this module. A trailing /... means the
// room and all below it. The first row that fits a package counts. Every room may
// import internal/* unless its row says "pure".
var table = []struct {
	room string
	pure bool
	may  []string
}{
	{room: ".", pure: true}, // go.mod and go.sum, embedded for cfbuild init
	{room: "pipelines", pure: true},
	{room: "pipelines/engine", may: []string{"pipelines", "builders", "publishers", "bootstrap", "pipelines/lock", "site"}},
	{room: "pipelines/lock", may: []string{"pipelines", "site"}},
	{room: "site", pure: true},
	{room: "recipes/common/...", pure: true, may: []string{"pipelines", "site", "recipes/common/..."}},
	{room: "recipes", pure: true, may: []string{"pipelines", "site", "recipes/..."}},
	{room: "recipes/...", pure: true, may: []string{"pipelines", "site", "recipes/common/...", "internal/distkeys"}},
	{room: "bootstrap", may: []string{"pipelines", "site"}},
	{room: "bootstrap/...", may: []string{"pipelines", "site", "bootstrap/..."}},
	{room: "builders", pure: true, may: []string{"pipelines", "site"}},
	{room: "builders/builderstest", may: []string{"builders", "pipelines", "site"}},
	{room: "builders/buildkit/...", may: []string{"builders", "builders/buildkit/...", "pipelines", "site"}},
	{room: "builders/...", may: []string{"builders", "pipelines", "site"}},
	{room: "publishers", pure: true, may: []string{"pipelines", "site"}},
	{room: "publishers/...", may: []string{"pipelines", "site", "publishers"}},
	{room: "lint/...", may: []string{"pipelines", "site", "lint/..."}},
	{room: "imagetest/...", may: []string{"pipelines", "site", "builders", "imagetest/..."}},
	{room: "ci/...", pure: true, may: []string{"pipelines", "site"}},
	{room: "cmd/cli/sitecheck", may: []string{"pipelines", "site", "bootstrap/deb/archive"}},
	{room: "cmd/cli/...", may: []string{"cmd/cli/...", "pipelines/...", "site", "recipes/...", "bootstrap", "builders", "publishers/...", "ci/...", "lint/...", "imagetest/..."}},
	{room: "cmd/cfbuild", may: []string{"..."}},
	{room: "internal/bench/...", may: []string{"..."}},
	{room: "internal/dockerdtest", may: []string{"pipelines", "site", "bootstrap/..."}},
	{room: "internal/...", may: []string{"pipelines", "site", "builders"}},
	{room: "examples/...", may: []string{"..."}},
}

func fits(pattern, pkg string) bool {
	if pattern == "..." || pattern == pkg {
		return true
	}
	room, all := strings.CutSuffix(pattern, "/...")
	return all && (pkg == room || strings.HasPrefix(pkg, room+"/"))
}

// file is one parsed source file of the module.
type file struct {
	path, pkg string
	ast       *ast.File
	fset      *token.FileSet
	lines     int
	test      bool
}

func parse(t *testing.T) []file {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var out []file
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "out" || (path != root && err == nil) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, src, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		out = append(out, file{rel, filepath.ToSlash(filepath.Dir(rel)), f, fset, strings.Count(string(src), "\n"), strings.HasSuffix(path, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("only %d files found below %s", len(out), root)
	}
	return out
}

func TestImportTable(t *testing.T) {
	for _, f := range parse(t) {
		if f.test {
			continue
		}
		i := slices.IndexFunc(table, func(r struct {
			room string
			pure bool
			may  []string
		}) bool {
			return fits(r.room, f.pkg)
		})
		if i < 0 {
			t.Errorf("%s: package %s is in no room of the table", f.path, f.pkg)
			continue
		}
		row := table[i]
		for _, imp := range f.ast.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			if imp.Name != nil && imp.Name.Name == "_" && path != "embed" && !strings.HasPrefix(f.pkg, "internal/sidebyside") &&
				!strings.HasPrefix(path, "github.com/distribution/") {
				t.Errorf("%s: imports %s for its effect", f.path, path)
			}
			dep, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			if strings.HasPrefix(dep, "internal/") && !row.pure {
				continue
			}
			if !slices.ContainsFunc(row.may, func(m string) bool { return fits(m, dep) }) {
				t.Errorf("%s: room %s may not import %s", f.path, row.room, dep)
			}
		}
	}
}

// hidden are calls that read what a library must be handed.
var hidden = map[string][]string{
	"os":   {"Getenv", "LookupEnv", "Environ", "Getwd", "Setenv", "Chdir", "UserHomeDir", "UserCacheDir"},
	"time": {"Now"},
}

// clockUsers measure durations or back off; time.Now there never reaches a result.
var clockUsers = []string{"internal/httpx", "internal/testneed", "internal/registrytest", "internal/childproc"}

func TestNoHiddenInputs(t *testing.T) {
	for _, f := range parse(t) {
		if f.test || strings.HasPrefix(f.pkg, "cmd/") || strings.HasPrefix(f.pkg, "examples/") || strings.HasPrefix(f.pkg, "internal/bench") || strings.HasPrefix(f.pkg, "internal/test") ||
			strings.HasSuffix(f.pkg, "test") || strings.HasPrefix(f.pkg, "builders/builderstest/") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s: func init", f.fset.Position(n.Pos()))
				}
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok || !slices.Contains(hidden[x.Name], n.Sel.Name) {
					return true
				}
				if x.Name == "time" && slices.Contains(clockUsers, f.pkg) {
					return true
				}
				if allowed(f, n) {
					return true
				}
				t.Errorf("%s: %s.%s below cmd/cli: take it as an argument", f.fset.Position(n.Pos()), x.Name, n.Sel.Name)
			}
			return true
		})
	}
}

// allowed: the line, or the line above, carries "archtest: allow" and a reason.
func allowed(f file, n ast.Node) bool {
	line := f.fset.Position(n.Pos()).Line
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			at := f.fset.Position(c.Pos()).Line
			if (at == line || at == line-1) && strings.Contains(c.Text, "archtest: allow ") {
				return true
			}
		}
	}
	return false
}

func TestFileSizes(t *testing.T) {
	for _, f := range parse(t) {
		if f.lines > 600 {
			t.Errorf("%s has %d lines: split it by job (the bound is 600)", f.path, f.lines)
		}
	}
}
