package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/node/config"
)

func newConfig(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check, show and reload the configuration"}
	c.AddCommand(newConfigCheck(g), newConfigShow(g), newConfigReload(g))
	return c
}

var errNoConfig = usageError{errors.New("say which configuration: --config FILE")}

// load reads the configuration that --config names.
func (g *globals) load() (config.Config, error) {
	if g.config == "" {
		return config.Config{}, errNoConfig
	}
	if names := config.UnknownEnv(os.Environ()); len(names) > 0 {
		fmt.Fprintf(g.err, "warning: unknown variables in the environment are ignored: %s\n", strings.Join(names, ", "))
	}
	return config.Load(g.config, os.Environ())
}

func newConfigCheck(g *globals) *cobra.Command {
	var o outageFlags
	cmd := &cobra.Command{
		Use: "check", Short: "Check the configuration and the files that it names", Args: exactArgs(),
		Long: `Checks the configuration and the files that it names. With --rate and --outage it
also says which disk budget that many events a second need while no destination
takes any for that long, and fails if the budget of this configuration is less.`,
		RunE: func(*cobra.Command, []string) error {
			if err := o.check(); err != nil {
				return err
			}
			cfg, err := g.load()
			if err != nil {
				return err
			}
			if err := cfg.CheckFiles(); err != nil {
				return err
			}
			if o.asked() {
				return o.run(g, cfg)
			}
			if g.json {
				return g.printJSON(map[string]bool{"ok": true})
			}
			_, err = fmt.Fprintf(g.out, "%s is in order\n", g.config)
			return err
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&o.rate, "rate", 0, "events a second, for --outage")
	durationVar(flags, &o.outage, "outage", 0, "how long every destination may be gone, such as 24h")
	flags.Int64Var(&o.eventBytes, "event-bytes", 500, "mean size of an event as it is sent, for --outage")
	return cmd
}

func newConfigShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the configuration as the node would use it, secrets hidden", Args: exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := g.load()
			if err != nil {
				return err
			}
			text := cfg.Show()
			if g.json {
				if text, err = cfg.ShowJSON(); err != nil {
					return err
				}
			}
			_, err = fmt.Fprint(g.out, text)
			return err
		},
	}
}

func newConfigReload(g *globals) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "reload", Short: "Have the running node read its configuration anew and apply what can change live",
		Long: `Have the running node read its configuration anew, and apply what can change
while it runs: those fields are marked in node/config/REFERENCE.md. What wants a
restart is named and left as it is, and the command exits with 1. A
configuration that is wrong changes nothing. SIGHUP does the same.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.running()
			if err != nil {
				return err
			}
			r, err := c.Reload(cmd.Context(), command(why))
			if err != nil {
				return err
			}
			if err := g.showReload(r); err != nil {
				return err
			}
			if len(r.Refused) > 0 {
				return fmt.Errorf("%s left for a restart of the node", count(len(r.Refused), "change"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return cmd
}

// What became of a change of the configuration.
const (
	inUse        = "in use"
	wantsRestart = "wants a restart"
	takenAnew    = "its new content is taken"
)

func (g *globals) showReload(r admin.ReloadReply) error {
	if g.json {
		return g.printJSON(r)
	}
	rows := [][]string{{"FIELD", "FROM", "TO", "STATE"}}
	for _, c := range r.Applied {
		rows = append(rows, []string{c.Field, c.From, c.To, inUse})
	}
	for _, c := range r.Refused {
		rows = append(rows, []string{c.Field, c.From, c.To, wantsRestart})
	}
	for _, f := range r.Files {
		rows = append(rows, []string{f.Field, "", f.Path, cmp.Or(f.Error, takenAnew)})
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(g.out, "nothing differs from what the node uses")
		return err
	}
	return g.table(rows...)
}
