package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"forebay/cmd/internal/torturetest"
	"forebay/router/routertest"
)

// TestMain lets the test binary be `forebay`, for scripts and for tests that
// kill it: whatever runs the command "forebay" runs this binary's main.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"forebay": main, "ceiling": ceiling, torturetest.ReceiverCommand: torturetest.Receive})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("FOREBAY_UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Values[startedKey] = new(started)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("FOREBAY_OPERATOR", "ann")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"startnode": startNodeCmd,
			"stopnode":  stopNodeCmd,
			"post":      postCmd,
			"refused":   refusedCmd,
			"postfile":  postFileCmd,
			"settled":   settledCmd,
			"hupnode":   hupNodeCmd,
			"waitfor":   waitForCmd,
			"replayed":  replayedCmd,
		},
	})
}

// ceiling is the command "ceiling ADDR".
func ceiling() {
	fmt.Fprintln(os.Stderr, routertest.Ceiling(os.Args[1]))
	os.Exit(1)
}
