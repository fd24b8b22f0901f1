package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

func newAuditLog(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "audit-log", Short: "Print what operators changed: when, who, what and why", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				rows := [][]string{{"AT", "BY", "VERB", "CURSOR", "WHY", "BEFORE", "AFTER"}}
				err := c.AuditLog(cmd.Context(), func(e shipper.TrailEntry) error {
					if g.json {
						return g.printLine(e)
					}
					rows = append(rows, []string{
						e.At.Format(time.RFC3339), e.By, e.Verb, e.Cursor, e.Why, string(e.Before), string(e.After),
					})
					return nil
				})
				if err != nil || g.json {
					return err
				}
				if len(rows) == 1 {
					_, err := fmt.Fprintln(g.out, "no operator has changed anything")
					return err
				}
				return g.table(rows...)
			})
		},
	}
}
