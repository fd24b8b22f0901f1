package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
)

func newKeysDeny(g *globals) *cobra.Command {
	c := changeKnown(g, "denied on this node", (*admin.Client).DenyKey)
	c.Use, c.Short = "deny ID", "Deny a key on one node at once, also while its source is away"
	c.Long = `Deny a key on one node, at once and durably, whatever its source says: for a key
that leaked while PostgreSQL cannot be reached. The node must know the key by its
ID, else give all 64 digits of its SHA-256. The denial ends when the source itself
says that the key is revoked, or with keys allow. Other nodes do not hear of it.`
	c.Example = "  forebay keys deny 9f86d081884c --why 'it leaked'"
	return c
}

func newKeysAllow(g *globals) *cobra.Command {
	c := changeKnown(g, "no longer denied on this node", (*admin.Client).AllowKey)
	c.Use, c.Short = "allow ID", "Lift the denial of a key on one node"
	c.Example = "  forebay keys allow 9f86d081884c --why 'it was another one'"
	return c
}

// changeKnown is the command of a change that names a key.
func changeKnown(g *globals, outcome string, change func(*admin.Client, context.Context, admin.KeyRequest) (admin.KnownKey, error)) *cobra.Command {
	var why string
	c := &cobra.Command{
		Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				k, err := change(c, cmd.Context(), admin.KeyRequest{Command: command(why), Key: args[0]})
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(k)
				}
				_, err = fmt.Fprintf(g.out, "%s: key %s of project %s, now %s\n", outcome, k.ID, k.Project, k.State)
				return err
			})
		},
	}
	c.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return c
}

func newKeysDenied(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "denied", Short: "List the keys that are denied on one node", Args: exactArgs(),
		Example: "  forebay keys denied",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				rows := [][]string{{"ID", "PROJECT", "SINCE", "BY", "WHY"}}
				err := c.KnownKeys(cmd.Context(), true, func(k admin.KnownKey) error {
					if g.json {
						return g.printJSON(k)
					}
					rows = append(rows, []string{k.ID, k.Project, k.Denied.At.UTC().Format(time.RFC3339), k.Denied.By, k.Denied.Why})
					return nil
				})
				if err != nil || g.json {
					return err
				}
				return g.table(rows...)
			})
		},
	}
}

func newKeysAccept(g *globals) *cobra.Command {
	var why string
	c := &cobra.Command{
		Use: "accept", Short: "Have one node believe that most keys are gone from their source", Args: exactArgs(),
		Long: `A source that has lost all keys, or more than half and at least 3, at once is not
believed for keys.doubt_for (1h): the lost keys stay in force on the node. This
takes what the source has now at once, for keys that are gone by intent.`,
		Example: "  forebay keys accept --why 'we gave up the old customers'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				d, err := c.AcceptKeys(cmd.Context(), command(why))
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(d)
				}
				_, err = fmt.Fprintf(g.out, "accepted: %d of %d keys are no longer in force, the source names %d\n", d.Lost, d.Had, d.Offered)
				return err
			})
		},
	}
	c.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return c
}
