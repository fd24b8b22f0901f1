package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestEveryCommandHasAnExample that the program takes: the command is there,
// and so are its flags and as many arguments as it wants.
func TestEveryCommandHasAnExample(t *testing.T) {
	for _, c := range commands(t) {
		if c.Example == "" {
			t.Errorf("%s has no example: add one in examples.go", c.CommandPath())
		}
	}
	for path, text := range examples {
		for line := range strings.Lines(strings.TrimSpace(text)) {
			words := shellWords(t, line)
			root := newRoot(new(bytes.Buffer), new(bytes.Buffer))
			c, args, err := root.Find(words)
			if err != nil || c.CommandPath() != "forebay "+path {
				t.Errorf("%s: the example is about %v (%v)", path, c.CommandPath(), err)
				continue
			}
			if err := c.ParseFlags(args); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			if err := c.ValidateArgs(c.Flags().Args()); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			c.Flags().VisitAll(func(f *pflag.Flag) {
				if f.Name == "config" && f.Changed && f.Value.String() == "" {
					t.Errorf("%s: --config without a file", line)
				}
			})
		}
	}
}

// shellWords are the arguments of the first forebay in a line of a shell.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	_, line, _ = strings.Cut(line, "forebay ")
	line, _, _ = strings.Cut(line, " > ")
	line, _, _ = strings.Cut(line, " | ")
	out, err := exec.Command("sh", "-c", `printf '%s\n' `+strings.TrimSuffix(strings.TrimSpace(line), ")")).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
