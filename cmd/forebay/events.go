package main

import (
	"github.com/spf13/cobra"

	"forebay/node/admin"
)

func newEvents(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "events", Short: "Watch what is accepted", Args: exactArgs()}
	c.AddCommand(newEventsTail(g))
	return c
}

func newEventsTail(g *globals) *cobra.Command {
	var f admin.EventFilter
	cmd := &cobra.Command{
		Use: "tail", Short: "Print events as JSON lines as they are accepted, until Ctrl-C", Args: exactArgs(),
		Long: `Print events as JSON lines as they are accepted, until Ctrl-C. It prints what
senders have sent: mind who sees it. forebay wal cat prints what was accepted
before.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				err := c.WatchEvents(cmd.Context(), f, func(e admin.Event) error { return g.printLine(e) })
				return g.followed(cmd.Context(), err)
			})
		},
	}
	cmd.Flags().StringVar(&f.Project, "project", "", "only of this project")
	cmd.Flags().StringVar(&f.Session, "session", "", "only of this session")
	return cmd
}
