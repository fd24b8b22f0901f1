// Command forebay-load puts load on a Forebay node and checks what comes out
// of it.
//
// `forebay-load send` posts sample events as SDKs would and, with a strict
// key, writes down what was accepted. `forebay-load receive` is the reference
// Session Manager as a process of its own: it checks order, can be told to
// fail, and with --state survives being killed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"forebay/cmd/internal/lines"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		w := lines.New(os.Stderr, nil)
		fmt.Fprintln(w, "forebay-load:", err)
		_ = w.Close(stopTimeout) // nobody reads it: the exit code says it too
		os.Exit(1)
	}
}
