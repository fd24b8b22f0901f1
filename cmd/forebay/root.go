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

// outcome marks what a command itself returned: it was asked rightly. What
// comes from before it is about the command line.
type outcome struct{ error }

func (o outcome) Unwrap() error { return o.error }

// groups are the commands as `forebay help` shows them.
var groups = []struct {
	title string
	names []string
}{
	{"Set up and run:", []string{"run", "config", "keys", "schema", "version", "completion"}},
	{"Look:", []string{"status", "top", "doctor", "trace", "drops", "events", "privacy", "audit-log"}},
	{"Act:", []string{"cursor", "replay", "dead", "drain"}},
	{"Prove and mend:", []string{"audit", "wal"}},
}

func newRoot(out, errOut io.Writer) *cobra.Command {
	g := &globals{out: out, err: errOut}
	root := &cobra.Command{
		Use: "forebay",
		Long: `Forebay has batches of events on disk before it replies, and ships them to
ClickHouse and, in session order, to a Session Manager.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetVersionTemplate("forebay {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.PersistentFlags()
	flags.StringVar(&g.admin, "admin", "", "the node's admin `ADDRESS`, HOST:PORT or unix:PATH\n(default FOREBAY_ADMIN, else 127.0.0.1:7071)")
	flags.StringVar(&g.config, "config", "", "the node's configuration `FILE`; for a stopped node, too")
	flags.StringVar(&g.tokenFile, "token-file", "", "`FILE` with the admin token\n(default FOREBAY_ADMIN_TOKEN_FILE)")
	flags.BoolVar(&g.json, "json", false, "print JSON")
	root.AddCommand(
		newRun(g), newStatus(g), newCursor(g), newDead(g), newReplay(g), newTrace(g), newDrops(g), newEvents(g), newPrivacy(g), newDoctor(g), newTop(g), newDrain(g), newAudit(g), newAuditLog(g), newWAL(g), newKeys(g), newSchema(g), newConfig(g), newVersion(g),
	)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	root.Flags().Lookup("version").Hidden = true // there is a command
	arrange(root)
	g.complete(root)
	explain(root)
	return root
}

// arrange puts the commands into their groups, gives those that only hold
// others an answer, and marks what commands return as theirs.
func arrange(root *cobra.Command) {
	cobra.EnableCommandSorting = false
	own := root.UsageTemplate()
	root.SetUsageTemplate(rootUsage)
	for _, group := range groups {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, name := range group.names {
			for _, c := range root.Commands() {
				if c.Name() == name {
					c.GroupID = group.title
				}
			}
		}
	}
	for _, c := range root.Commands() {
		c.SetUsageTemplate(own)
	}
	root.SetHelpCommand(&cobra.Command{Use: "help [COMMAND]", Hidden: true, RunE: func(_ *cobra.Command, args []string) error {
		c, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return unknown(root, args)
		}
		return c.Help()
	}})
	finish(root)
}

const rootUsage = `Usage: forebay COMMAND [flags]; "forebay COMMAND --help" says more.
{{range $group := .Groups}}
{{.Title}}{{range $.Commands}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
It exits with 0 if it did what it was asked, 1 if not, 2 if asked wrongly.
`

func finish(c *cobra.Command) {
	for _, below := range c.Commands() {
		finish(below)
	}
	switch run := c.RunE; {
	case run != nil:
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if err := run(cmd, args); err != nil {
				return outcome{err}
			}
			return nil
		}
	case c.Run == nil: // it only holds others
		c.Args, c.DisableFlagsInUseLine = cobra.ArbitraryArgs, true
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknown(cmd, args)
		}
	}
}

// unknown is the answer to a command that there is not.
func unknown(cmd *cobra.Command, args []string) error {
	name, hint := cmd.CommandPath(), ""
	cmd.SuggestionsMinimumDistance = 2 // letters that are wrong, or change places
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("unknown command %q: %s --help lists them%s", name+" "+strings.Join(args, " "), name, hint)}
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
