package seedtest_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"forebay/wal/seedtest"
)

// TestDraw prints what is drawn: TestOneVariableRepeatsARun runs it.
func TestDraw(t *testing.T) {
	r := seedtest.New(t)
	t.Logf("drew %d %d %g", r.Uint64(), r.IntN(1000), r.ExpFloat64())
}

// TestOneVariableRepeatsARun runs a test twice without a seed, which draws unlike numbers and prints its seed, and then
// with the printed seed, which draws the same ones.
func TestOneVariableRepeatsARun(t *testing.T) {
	run := func(seed string) (printed, drawn string) {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run=^TestDraw$", "-test.v")
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, seedtest.Variable+"=") {
				cmd.Env = append(cmd.Env, v)
			}
		}
		if seed != "" {
			cmd.Env = append(cmd.Env, seedtest.Variable+"="+seed)
		}
		out, err := cmd.CombinedOutput()
		if err != nil && seed != "no number" {
			t.Fatalf("%v: %s", err, out)
		}
		if m := regexp.MustCompile(seedtest.Variable + `=(\d+)`).FindSubmatch(out); m != nil {
			printed = string(m[1])
		}
		return printed, regexp.MustCompile(`drew.*|invalid syntax`).FindString(string(out))
	}
	seed, first := run("")
	_, second := run("")
	if seed == "" || first == "" || first == second {
		t.Fatalf("seed %q, drawn %q and %q", seed, first, second)
	}
	if printed, again := run(seed); printed != seed || again != first {
		t.Errorf("with the seed %s: printed %s, drawn %q, want %q", seed, printed, again, first)
	}
	if _, said := run("no number"); said != "invalid syntax" {
		t.Errorf("a seed that is no number: %q", said)
	}
}
