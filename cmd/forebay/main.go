// Command forebay is the node and the operator's tool for it.
//
// `forebay run` is the daemon; its assembly is package node. Commands about a
// node call its admin API or, given --config for one that is stopped, open its
// data directory and serve the same API in their own process. The others (keys,
// schema, config, privacy check, version) need no node.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"forebay/cmd/internal/lines"
)

// version, commit and built (RFC 3339) are set by the linker; see the Makefile.
var version, commit, built = "unknown", "unknown", ""

// Exit codes, as documented in OPERATING.md.
const (
	exitFailed = 1 // the command did not do what it was asked
	exitUsage  = 2 // it was asked wrongly
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	var check checkError
	if errors.As(err, &check) {
		os.Exit(check.code)
	}
	say(err)
	var usage usageError
	var own outcome
	if errors.As(err, &usage) || !errors.As(err, &own) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}

// lastLines is how long the end of the program waits for the reader of its last
// lines.
const lastLines = 2 * time.Second

// say writes why the program ends, to whoever reads it.
func say(why error) {
	w := lines.New(os.Stderr, nil)
	fmt.Fprintln(w, "forebay:", why)
	_ = w.Close(lastLines) // nobody reads it: the exit code says it too
}
