package node_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// This file and source_rules_test.go hold what the whole tree has agreed on: who may import whom, which library lives
// where, and how a file reads. A rule that no longer fits is changed here, in a commit that says why.

// topLevel is everything the root may hold, besides files whose names begin with a dot.
var topLevel = []string{
	"cmd", "node", "wal", "shipper", "router", "testdata", "go.mod", "go.sum", "Makefile", "README.md", "LICENSE",
}

// edges lists, for the first folder of an importing package, the folders it may import from. Tests obey it too.
var edges = map[string][]string{
	"cmd":     {"cmd", "node", "router", "shipper", "wal"},
	"node":    {"node", "router", "shipper", "wal"},
	"router":  {"router", "wal"},
	"shipper": {"shipper", "wal"},
	"wal":     {"wal"},
}

// anyTest as a home stands for tests and test helpers, wherever they are.
const anyTest = "tests"

// libraries names, for every third-party module in use, the packages that may import it. A name ending in /... covers
// what lies below. A library that is not listed may not be imported.
var libraries = map[string][]string{
	"github.com/tidwall/wal":              {"wal"},
	"github.com/cockroachdb/pebble":       {"node/state"},
	"github.com/jackc/pgx":                {"router/auth/postgres"},
	"github.com/ClickHouse/clickhouse-go": {"shipper/clickhouse", "shipper/clickhouse/clickhousetest"},
	"github.com/ClickHouse/ch-go":         {"shipper/clickhouse", "shipper/clickhouse/clickhousetest/gateway"},
	"github.com/ebitengine/purego":        {"shipper/clickhouse/clickhousetest/gateway"},
	"github.com/julienschmidt/httprouter": {"router", "router/routertest", "node/admin"},
	"github.com/prometheus":               {"node"},
	"github.com/spf13":                    {"cmd/..."},
	"github.com/goccy/go-yaml":            {"node/config", "router/auth/file", anyTest},
	"github.com/klauspost/compress":       {"wal/...", "router/...", "shipper/...", anyTest},
	"github.com/andybalholm/brotli":       {"router/..."},
	"github.com/dchest/siphash":           {"router/dedupe"},
	"golang.org/x":                        {"cmd/...", "node/...", "router/...", "shipper/...", "wal/...", anyTest},
	"pgregory.net/rapid":                  {anyTest},
	"github.com/rogpeppe/go-internal":     {anyTest},
	"github.com/hanwen/go-fuse":           {anyTest},
	"go.uber.org/goleak":                  {anyTest},
	"github.com/chromedp":                 {anyTest},
}

// standardOnly are packages that import nothing but the standard library.
var standardOnly = []string{"wal/durable", "wal/record"}

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	Dir, ImportPath, Name, Doc         string
	Imports, TestImports, XTestImports []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// path is the package's path within the module.
func (p goPackage) path() string { return within(p.ImportPath) }

func within(importPath string) string { return strings.TrimPrefix(importPath, "forebay/") }

// demoProgram starts the same servers as tests do, to show a node at work; it is part of no binary that is shipped.
const demoProgram = "cmd/internal/demo"

// isHelper says whether a package exists for tests alone: a path element of it ends in "test".
func isHelper(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(element string) bool { return strings.HasSuffix(element, "test") })
}

func isOurs(importPath string) bool { return strings.HasPrefix(importPath, "forebay/") }
func isStandard(importPath string) bool {
	return !strings.Contains(strings.Split(importPath, "/")[0], ".") && !isOurs(importPath)
}

// packages lists the module's packages.
func packages(t *testing.T) []goPackage {
	t.Helper()
	fields := "Dir,ImportPath,Name,Doc,Imports,TestImports,XTestImports,GoFiles,TestGoFiles,XTestGoFiles"
	decoder := json.NewDecoder(strings.NewReader(output(t, "go", "list", "-e", "-json="+fields, "./...")))
	var all []goPackage
	for {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// output runs a command in the module's root and returns what it prints.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.Command(name, args...)
	command.Dir = ".."
	var stderr strings.Builder
	command.Stderr = &stderr
	printed, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(printed)
}

// projectFiles lists every file that belongs to the project, committed or about to be, from the root.
func projectFiles(t *testing.T) []string {
	t.Helper()
	listed := output(t, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	files := strings.Split(strings.TrimSuffix(listed, "\x00"), "\x00")
	return slices.DeleteFunc(files, func(name string) bool {
		_, err := os.Lstat(filepath.Join("..", name))
		return err != nil // deleted, with the deletion not committed yet
	})
}

func TestTopLevelEntries(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range projectFiles(t) {
		entry, _, _ := strings.Cut(name, "/")
		if !seen[entry] && !strings.HasPrefix(entry, ".") && !slices.Contains(topLevel, entry) {
			t.Errorf("%s stands at the root; the root holds %s", entry, strings.Join(topLevel, " "))
		}
		seen[entry] = true
	}
}

func TestImportEdges(t *testing.T) {
	for _, p := range packages(t) {
		from, _, _ := strings.Cut(p.path(), "/")
		for _, imported := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if !isOurs(imported) {
				continue
			}
			to, _, _ := strings.Cut(within(imported), "/")
			if !slices.Contains(edges[from], to) {
				t.Errorf("%s imports %s; %s may import from %s alone", p.path(), within(imported), from, strings.Join(edges[from], ", "))
			}
		}
		if slices.Contains(standardOnly, p.path()) {
			for _, imported := range p.Imports {
				if !isStandard(imported) {
					t.Errorf("%s imports %s; it keeps to the standard library", p.path(), imported)
				}
			}
		}
	}
}

// TestReadmeNamesEveryPackage, but for those that serve tests and the tools of the project itself.
func TestReadmeNamesEveryPackage(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages(t) {
		if !isHelper(p.path()) && !strings.HasPrefix(p.path(), "cmd/internal/") && !strings.Contains(string(readme), "]("+p.path()+")") {
			t.Errorf("README.md's table lacks %s", p.path())
		}
	}
}

// TestHelpersStayInTests keeps what starts servers, breaks disks or needs package testing out of the programs.
func TestHelpersStayInTests(t *testing.T) {
	for _, p := range packages(t) {
		if isHelper(p.path()) || p.path() == demoProgram {
			continue
		}
		for _, imported := range p.Imports {
			if imported == "testing" || isOurs(imported) && isHelper(within(imported)) {
				t.Errorf("%s imports %s outside its tests", p.path(), imported)
			}
		}
	}
}

func TestLibrariesHaveHomes(t *testing.T) {
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			checkLibrary(t, p, imported, isHelper(p.path()))
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			checkLibrary(t, p, imported, true)
		}
	}
}

func checkLibrary(t *testing.T, p goPackage, imported string, inTest bool) {
	t.Helper()
	if isOurs(imported) || isStandard(imported) {
		return
	}
	for library, homes := range libraries {
		if imported != library && !strings.HasPrefix(imported, library+"/") {
			continue
		}
		if !slices.ContainsFunc(homes, func(home string) bool { return isHome(home, p.path(), inTest) }) {
			t.Errorf("%s imports %s, which belongs in %s", p.path(), imported, strings.Join(homes, ", "))
		}
		return
	}
	t.Errorf("%s imports %s, a library that the table in rules_test.go does not know", p.path(), imported)
}

func isHome(home, path string, inTest bool) bool {
	if home == anyTest {
		return inTest
	}
	tree, whole := strings.CutSuffix(home, "/...")
	return path == tree || whole && strings.HasPrefix(path, tree+"/")
}

func TestPackagesAreDescribed(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 && p.Doc == "" {
			t.Errorf("package %s has no doc comment", p.path())
		}
	}
}
