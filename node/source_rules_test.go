package node_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// longestFile is how many lines a Go file may have.
const longestFile = 500

// longFiles are the exceptions to longestFile, each with the reason that it is one file.
var longFiles = map[string]string{}

// unfinished matches what people write where something is left to do. It is put together so as not to match itself.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}, "|") + `)\b`)

// proseFiles are read for unfinished work besides Go source.
var proseFiles = []string{".md", ".yaml", ".yml", ".json", ".html", ".css", ".js", ".sql", ".sh", "Makefile", ".ci/run", ".ci/deps"}

// source is one parsed Go file of the project.
type source struct {
	name string // from the root
	set  *token.FileSet
	file *ast.File
}

func (s source) at(node ast.Node) string {
	return s.name + ":" + strconv.Itoa(s.set.Position(node.Pos()).Line)
}

func (s source) isTest() bool {
	return strings.HasSuffix(s.name, "_test.go") || isHelper(filepath.ToSlash(filepath.Dir(s.name)))
}

// sources parses every Go file of the project that the go command looks at.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, name := range projectFiles(t) {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join("..", name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{name: name, set: set, file: file})
	}
	return all
}

func TestNothingIsLeftUndone(t *testing.T) {
	for _, name := range projectFiles(t) {
		read := strings.HasSuffix(name, ".go")
		for _, ending := range proseFiles {
			read = read || strings.HasSuffix(name, ending)
		}
		if !read {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		for number, line := range strings.Split(string(text), "\n") {
			if found := unfinished.FindString(line); found != "" {
				t.Errorf("%s:%d says %s", name, number+1, found)
			}
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		lines := s.set.File(s.file.Pos()).LineCount()
		if _, named := longFiles[s.name]; lines > longestFile && !named {
			t.Errorf("%s has %d lines, over %d: split it, or name it in longFiles with the reason", s.name, lines, longestFile)
		}
	}
}

// TestImportsStandInThreeGroups checks the order: standard library, third party, our own, an empty line between.
func TestImportsStandInThreeGroups(t *testing.T) {
	for _, s := range sources(t) {
		last, lastLine := 0, 0
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			group := 2
			if isStandard(path) {
				group = 1
			} else if isOurs(path) {
				group = 3
			}
			line := s.set.Position(spec.Pos()).Line
			apart := line > lastLine+1
			if last != 0 && (group < last || group > last && !apart || group == last && apart) {
				t.Errorf("%s: imports stand in three groups: standard library, third party, forebay", s.at(spec))
				break
			}
			last, lastLine = group, s.set.Position(spec.End()).Line
		}
	}
}

// TestNobodySleeps allows time.Sleep only in a function that works with testing/synctest, where time is not real.
func TestNobodySleeps(t *testing.T) {
	for _, s := range sources(t) {
		for _, declaration := range s.file.Decls {
			sleeps := calls(declaration, "time", "Sleep")
			if len(sleeps) == 0 || s.isTest() && mentions(declaration, "synctest") {
				continue
			}
			for _, call := range sleeps {
				t.Errorf("%s sleeps: wait for what is meant, with a limit", s.at(call))
			}
		}
	}
}

// TestRandomnessHasASeed keeps tests from the functions of math/rand/v2 that draw from a source without a seed:
// seedtest gives a test a seed that is logged and can be set.
func TestRandomnessHasASeed(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() || s.name == filepath.FromSlash("wal/seedtest/seedtest.go") ||
			!slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"math/rand/v2"` }) {
			continue
		}
		for _, name := range []string{
			"ExpFloat64", "Float32", "Float64", "Int", "Int32", "Int32N", "Int64", "Int64N", "IntN", "N", "NormFloat64",
			"Perm", "Shuffle", "Uint", "Uint32", "Uint32N", "Uint64", "Uint64N", "UintN",
		} {
			for _, call := range calls(s.file, "rand", name) {
				t.Errorf("%s draws from a source without a seed; use seedtest", s.at(call))
			}
		}
	}
}

// TestNoHiddenState keeps initialisation and logging in the hands of the caller.
func TestNoHiddenState(t *testing.T) {
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			if spec.Path.Value == `"log"` {
				t.Errorf("%s imports log; use the *slog.Logger passed in", s.at(spec))
			}
		}
		for _, declaration := range s.file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: no init functions", s.at(f))
			}
			if s.isTest() {
				continue
			}
			for _, name := range []string{"Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "Default", "SetDefault", "With"} {
				for _, call := range calls(declaration, "slog", name) {
					if name == "SetDefault" && s.name == "cmd/forebay/run.go" {
						continue // what libraries say through package log has the form of the node's own lines
					}
					t.Errorf("%s uses the global logger; use the one passed in", s.at(call))
				}
			}
		}
	}
}

// calls finds calls of the package's function below the node.
func calls(below ast.Node, pkg, function string) []ast.Node {
	var found []ast.Node
	ast.Inspect(below, func(node ast.Node) bool {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			return true
		}
		if selector, ok := call.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == function {
			if x, ok := selector.X.(*ast.Ident); ok && x.Name == pkg {
				found = append(found, call)
			}
		}
		return true
	})
	return found
}

// mentions says whether a package is used below the node.
func mentions(below ast.Node, pkg string) bool {
	found := false
	ast.Inspect(below, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if x, ok := selector.X.(*ast.Ident); ok && x.Name == pkg {
				found = true
			}
		}
		return !found
	})
	return found
}
