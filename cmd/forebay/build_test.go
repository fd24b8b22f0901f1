package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReproducibleBuild builds the program in two directories, as `make build`
// does, and gets the same bytes. Both say which commit they are from.
func TestReproducibleBuild(t *testing.T) {
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = top
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	for _, name := range strings.Split(strings.TrimRight(string(names), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(top, name))
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(copied, name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const commit = "0123456789abcdef0123456789abcdef01234567"
	var programs [][]byte
	for _, dir := range []string{top, copied} {
		out := t.TempDir()
		make := exec.CommandContext(t.Context(), "make", "--no-print-directory", "build", "BIN="+out, "VERSION=v1", "COMMIT="+commit, "BUILT=2026-01-01T00:00:00Z")
		make.Dir = dir
		if text, err := make.CombinedOutput(); err != nil {
			t.Fatalf("make build in %s: %v\n%s", dir, err, text)
		}
		program := filepath.Join(out, "forebay")
		text, err := exec.CommandContext(t.Context(), program, "version").Output()
		if err != nil || !strings.HasPrefix(string(text), "forebay v1 (commit "+commit) {
			t.Errorf("version: %v %s", err, text)
		}
		built, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, built)
	}
	if !bytes.Equal(programs[0], programs[1]) {
		t.Errorf("two builds of one source differ: %x and %x", sha256.Sum256(programs[0]), sha256.Sum256(programs[1]))
	}
}
