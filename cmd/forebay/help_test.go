package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the reference of the commands into OPERATING.md")

// commands are all commands that do something, in the order of the help.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, below := range c.Commands() {
			if below.IsAvailableCommand() && below.Name() != "help" {
				walk(below)
			}
		}
		if !c.HasAvailableSubCommands() {
			all = append(all, c)
		}
	}
	root := newRoot(new(bytes.Buffer), new(bytes.Buffer))
	for _, group := range groups {
		for _, name := range group.names {
			for _, c := range root.Commands() {
				if c.Name() == name {
					walk(c)
				}
			}
		}
	}
	for _, c := range root.Commands() {
		if c.GroupID == "" && !c.Hidden {
			t.Errorf("forebay %s is in no group of the help", c.Name())
		}
	}
	return all
}

// TestHelpFitsAScreen: one look shows every command.
func TestHelpFitsAScreen(t *testing.T) {
	var out bytes.Buffer
	root := newRoot(&out, &out)
	root.SetArgs([]string{"help"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) < 24 || len(lines) > 40 {
		t.Errorf("the help has %d lines, want 24 to 40", len(lines))
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) > 80 {
			t.Errorf("longer than 80 columns: %s", line)
		}
	}
	for _, c := range root.Commands() {
		if !c.Hidden && !strings.Contains(out.String(), "\n  "+c.Name()+" ") {
			t.Errorf("the help does not show %s", c.Name())
		}
	}
}

// TestEveryCommandHasAScript: each command is run by a script as a whole
// program, and so are those of a running node with it stopped and at an address
// where there is none.
func TestEveryCommandHasAScript(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var scripts strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(text)
	}
	for _, c := range commands(t) {
		if !strings.Contains(scripts.String(), c.CommandPath()) {
			t.Errorf("no script runs %s", c.CommandPath())
		}
	}
}

// The reference stands between these lines of OPERATING.md.
const (
	manualFile = "../../node/OPERATING.md"
	refBegin   = "<!-- The commands: written by go test ./cmd/forebay -run TestReference -update -->\n"
	refEnd     = "<!-- The commands end here. -->\n"
)

// TestReference holds the reference of the commands in OPERATING.md to the
// commands; -update writes it.
func TestReference(t *testing.T) {
	text, err := os.ReadFile(manualFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), refBegin)
	have, after, ends := strings.Cut(rest, refEnd)
	if !begins || !ends {
		t.Fatalf("OPERATING.md lacks the lines\n%s%s", refBegin, refEnd)
	}
	want := reference(t)
	if *update {
		if err := os.WriteFile(manualFile, []byte(before+refBegin+want+refEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have != want {
		t.Error("the reference of the commands is out of date; run: go test ./cmd/forebay -run TestReference -update")
	}
}

// reference is a table of the commands with their own flags.
func reference(t *testing.T) string {
	var b strings.Builder
	b.WriteString("\n| command | what it does | flags |\n|---|---|---|\n")
	for _, c := range commands(t) {
		var flags []string
		add := func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			name, usage := pflag.UnquoteUsage(f)
			if name != "" {
				name = " " + strings.ToUpper(name)
			}
			flags = append(flags, fmt.Sprintf("`--%s%s` %s", f.Name, name, usage))
		}
		c.NonInheritedFlags().VisitAll(add)
		if keys := c.Parent(); keys.Name() == "keys" {
			keys.PersistentFlags().VisitAll(add)
		}
		slices.Sort(flags)
		cell := strings.ReplaceAll(strings.Join(flags, "<br>"), "|", `\|`)
		path := strings.TrimSuffix(c.UseLine(), " [flags]")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.ReplaceAll(path, "|", `\|`), c.Short, strings.ReplaceAll(cell, "\n", " "))
	}
	b.WriteString("\n")
	return b.String()
}
