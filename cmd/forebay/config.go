package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"forebay/node/config"
)

func newConfig(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check and show the configuration", Args: exactArgs()}
	c.AddCommand(newConfigCheck(g), newConfigShow(g))
	return c
}

var errNoConfig = usageError{errors.New("say which configuration: --config FILE")}

func newConfigCheck(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check the configuration and the files that it names", Args: exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			if g.config == "" {
				return errNoConfig
			}
			cfg, err := config.Load(g.config, os.Environ())
			if err != nil {
				return err
			}
			if err := cfg.CheckFiles(); err != nil {
				return err
			}
			if g.json {
				return g.printJSON(map[string]bool{"ok": true})
			}
			_, err = fmt.Fprintf(g.out, "%s is in order\n", g.config)
			return err
		},
	}
}

func newConfigShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the configuration as the node would use it, secrets hidden", Args: exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			if g.config == "" {
				return errNoConfig
			}
			cfg, err := config.Load(g.config, os.Environ())
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
