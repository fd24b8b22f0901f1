package nodetest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Snippet is the README's one piece of code in a language, under "Send events".
func Snippet(tb testing.TB, language string) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for _, err = os.Stat(filepath.Join(dir, "go.mod")); err != nil; _, err = os.Stat(filepath.Join(dir, "go.mod")) {
		if dir == filepath.Dir(dir) {
			tb.Fatal("no folder above has a go.mod")
		}
		dir = filepath.Dir(dir)
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		tb.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Send events\n")
	section, _, ended := strings.Cut(section, "\n## ")
	pieces := regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```").FindAllStringSubmatch(section, -1)
	if !found || !ended || len(pieces) != 1 {
		tb.Fatalf("the README has %d pieces of %s under Send events, want 1", len(pieces), language)
	}
	return pieces[0][1]
}

// WriteSender writes the README's Go program into a folder, as a module for go
// run.
func WriteSender(tb testing.TB, dir string) {
	tb.Helper()
	for name, text := range map[string]string{"main.go": Snippet(tb, "go"), "go.mod": "module sender\n\ngo 1.24\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}
