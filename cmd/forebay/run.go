package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"forebay/node"
	"forebay/node/config"
)

func newRun(g *globals) *cobra.Command {
	var dev bool
	var dir string
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the node until SIGTERM or SIGINT",
		Long: `Run the node until SIGTERM or SIGINT.

With --dev everything is embedded and nothing needs to be installed: a key from
a file, an archive of files for ClickHouse, and a Session Manager in the same
process that prints what reaches it.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			raiseProcs()
			if dev {
				return g.runDev(cmd, dir)
			}
			if g.config == "" {
				return usageError{errors.New("say which configuration to run: --config FILE, or --dev for one that needs nothing")}
			}
			cfg, err := config.Load(g.config, os.Environ())
			if err != nil {
				return err
			}
			logger, err := newLogger(cfg.Log, g.err)
			if err != nil {
				return err
			}
			n, err := node.Open(cfg, nodeOptions(logger))
			if err != nil {
				return err
			}
			return notified(cmd.Context(), n, newNotifier(os.Getenv, logger))
		},
	}
	cmd.Flags().BoolVar(&dev, "dev", false, "run with everything embedded, on loopback")
	cmd.Flags().StringVar(&dir, "dev-dir", ".demo", "folder of --dev")
	return cmd
}

// notified runs the node and keeps the service manager told of it. It is ready
// once it listens, which it does since it was opened.
func notified(ctx context.Context, n *node.Node, manager notifier) error {
	running, end := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() { defer close(told); manager.run(running, n.Alive) }()
	err := n.Run(ctx)
	end()
	<-told
	return err
}

// raiseProcs lets more threads run Go code than there are cores, unless the
// environment says how many. A goroutine that waits for fsync keeps its place
// among them until the runtime notices, which it does by the clock: with one
// place for one core, all senders would wait for that each time the log is
// synced, and their requests would not gather for the next sync meanwhile.
func raiseProcs() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(4, 2*runtime.GOMAXPROCS(0)))
	}
}

// nodeOptions are those of this program.
func nodeOptions(logger *slog.Logger) node.Options {
	at, err := time.Parse(time.RFC3339, built)
	if err != nil {
		at = time.Time{} // built without the Makefile: no time to hold the clock against
	}
	return node.Options{Version: version, Built: at, Logger: logger}
}

// newLogger writes to w as the configuration says.
func newLogger(c config.Log, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return slog.New(slog.NewJSONHandler(w, o)), nil
}
