// Command demo shows a whole node at work: it runs the real binaries as
// processes, posts 1,000 events of 40 sessions over HTTP, and prints where
// they went. `make demo` and `make demo-full` call it.
//
//	demo         everything embedded, nothing to install: forebay run --dev
//	demo --full  a real ClickHouse (or CLICKHOUSE_ADDR), a real PostgreSQL (or
//	             POSTGRES_DSN) and a Session Manager in a process of its own
//
// It stays until Ctrl-C, unless DEMO_EXIT=1: then it ends once every event is
// delivered, with status 0, and with 1 if any is not.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	full := flag.Bool("full", false, "with real ClickHouse, PostgreSQL and a Session Manager process")
	dir := flag.String("dir", ".demo", "folder for everything that the demo writes")
	bin := flag.String("bin", "bin", "folder of the binaries")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := &demo{dir: *dir, bin: *bin, stay: os.Getenv("DEMO_EXIT") != "1", out: os.Stdout}
	run := d.embedded
	if *full {
		run = d.full
	}
	if err := d.show(ctx, run); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
