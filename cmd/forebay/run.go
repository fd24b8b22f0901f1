package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"forebay/cmd/internal/lines"
	"forebay/node"
	"forebay/node/admin"
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
			surviveReaders()
			if dev {
				return g.runDev(cmd, dir)
			}
			if g.config == "" && !config.EnvSets(os.Environ()) {
				return usageError{errors.New("say which configuration to run: --config FILE, FOREBAY_ variables that set all that is needed, or --dev for one that needs nothing")}
			}
			return g.runNode(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&dev, "dev", false, "run with everything embedded, on loopback")
	cmd.Flags().StringVar(&dir, "dev-dir", ".demo", "folder of --dev")
	return cmd
}

// runNode runs the node that --config and the environment describe. SIGHUP has it read the
// configuration anew.
func (g *globals) runNode(ctx context.Context) error {
	hangups := make(chan os.Signal, 1) // before the node is open, so that one that comes early is not its end
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	load := func() (config.Config, error) { return config.Load(g.config, os.Environ()) }
	cfg, err := load()
	if err != nil {
		return err
	}
	var level slog.LevelVar
	output := newOutput(cfg.Log, g.err)
	defer func() { _ = output.Close(lastLines) }() // who does not read is not waited for
	logger, err := newLogger(cfg.Log, &level, output)
	if err != nil {
		return err
	}
	slog.SetDefault(logger) // for libraries that log through package log
	warnUnknownEnv(logger)
	o := nodeOptions(logger)
	o.LogOutput = fares(output)
	o.Load = load
	o.SetLogLevel = func(text string) error { return level.UnmarshalText([]byte(text)) }
	n, err := node.Open(cfg, o)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	var reloads sync.WaitGroup
	reloads.Go(func() { reloadOn(ctx, hangups, n, logger) })
	err = notified(ctx, n, newNotifier(os.Getenv, logger))
	end()
	reloads.Wait()
	return err
}

// warnUnknownEnv names the variables that look like ours and are not.
func warnUnknownEnv(logger *slog.Logger) {
	if names := config.UnknownEnv(os.Environ()); len(names) > 0 {
		logger.Warn("unknown variables in the environment are ignored", "names", names)
	}
}

// reloadOn reloads the configuration at each signal until ctx ends. What is
// wrong with it is for the log: nobody waits for an answer.
func reloadOn(ctx context.Context, signals <-chan os.Signal, n *node.Node, logger *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		if _, err := n.Reload(admin.Command{By: "SIGHUP"}); err != nil {
			logger.Error("the configuration was not reloaded", "err", err)
		}
	}
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

// surviveReaders has a write to standard output or error whose reader is gone
// fail, where it would end the program. Nobody reads the channel: that it is
// there is what counts, and children do not inherit it.
func surviveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// newOutput is where the node's lines go: nothing waits for the reader of w, and
// lines that are missing are told in the form of the others.
func newOutput(c config.Log, w io.Writer) *lines.Writer {
	return lines.New(w, func(n uint64) []byte {
		var b bytes.Buffer
		logger, err := newLogger(config.Log{Level: "warn", Format: c.Format}, new(slog.LevelVar), &b)
		if err != nil {
			return nil // the level is a known one
		}
		logger.Warn("log lines are missing here: standard error did not take them", "lines", n)
		return b.Bytes()
	})
}

// fares tells the node how its lines fare.
func fares(output *lines.Writer) func() node.LogOutput {
	return func() node.LogOutput { return node.LogOutput(output.Stats()) }
}

// nodeOptions are those of this program.
func nodeOptions(logger *slog.Logger) node.Options {
	at, err := time.Parse(time.RFC3339, built)
	if err != nil {
		at = time.Time{} // built without the Makefile: no time to hold the clock against
	}
	return node.Options{Version: version, Built: at, Logger: logger}
}

// newLogger writes to w as the configuration says, and from what level on it
// keeps in level.
func newLogger(c config.Log, level *slog.LevelVar, w io.Writer) (*slog.Logger, error) {
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: node.LogAttr}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return slog.New(slog.NewJSONHandler(w, o)), nil
}
