package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// globals are the flags that every subcommand shares.
type globals struct {
	out, err  io.Writer
	admin     string
	config    string
	tokenFile string
	json      bool
}

// usageError marks a command line that makes no sense.
type usageError struct{ error }

func newRoot(out, errOut io.Writer) *cobra.Command {
	g := &globals{out: out, err: errOut}
	root := &cobra.Command{
		Use:   "forebay",
		Short: "A durable event-ingestion node, and the operator's tool for it",
		Long: `Forebay takes batches of events over HTTP, has them on disk before it
replies, and ships them to ClickHouse and, in session order, to a Session
Manager.

Commands find the node by --admin HOST:PORT (or FOREBAY_ADMIN), or by
--config FILE, which also serves when the node is stopped.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetVersionTemplate("forebay {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&g.admin, "admin", "", "the node's admin address, HOST:PORT or unix:PATH (default FOREBAY_ADMIN, else 127.0.0.1:7071)")
	flags.StringVar(&g.config, "config", "", "the node's configuration file; works on a stopped node, too")
	flags.StringVar(&g.tokenFile, "token-file", "", "file with the admin token (default FOREBAY_ADMIN_TOKEN_FILE)")
	flags.BoolVar(&g.json, "json", false, "print JSON")
	root.AddCommand(
		newRun(g), newStatus(g), newCursor(g), newDead(g), newTrace(g), newDoctor(g), newDrain(g), newAuditLog(g), newWAL(g), newKeys(g), newSchema(g), newConfig(g), newVersion(g),
	)
	return root
}

// exactArgs is cobra.ExactArgs with an error that says what is meant.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(names) == 0 {
			return usageError{fmt.Errorf("%s takes no arguments", cmd.CommandPath())}
		}
		return usageError{fmt.Errorf("%s takes %s (see %s --help)", cmd.CommandPath(), strings.Join(names, " "), cmd.CommandPath())}
	}
}
