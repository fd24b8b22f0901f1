package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"forebay/node/admin"
)

func newStatus(g *globals) *cobra.Command {
	var nodes []string
	cmd := &cobra.Command{
		Use: "status", Short: "Show whether a node, or many, accept and ship, and why not", Args: exactArgs(),
		Long: `Show whether a node accepts, stores and ships events, and if not why, since when
and what to do. With --nodes it shows many nodes side by side; it exits with 1 if
one of them does not answer.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(nodes) > 0 {
				return g.statusOfNodes(cmd.Context(), nodes)
			}
			return g.withNode(func(c *admin.Client) error {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(s)
				}
				return g.showStatus(s)
			})
		},
	}
	cmd.Flags().StringSliceVar(&nodes, "nodes", nil, "admin `ADDRESSES` of nodes to show side by side, by comma; one token for all")
	return cmd
}

func (g *globals) showStatus(s admin.Status) error {
	fmt.Fprintf(g.out, "node %s, log %s, version %s\n\n", s.NodeID, s.LogID, s.Version)
	rows := [][]string{{"CHECK", "STATE", "SINCE", "REASON -> REMEDY"}}
	for _, c := range s.Checks {
		state, text := "ok", c.Reason
		if !c.OK {
			state = "NOT OK"
		}
		if c.Remedy != "" {
			text += " -> " + c.Remedy
		}
		rows = append(rows, []string{c.Name, state, ago(c.Since), text})
	}
	if err := g.table(rows...); err != nil {
		return err
	}
	l := s.Log
	fmt.Fprintf(g.out, "\nlog: seq %d to %d in %s, %s", l.FirstSeq, l.DurableSeq, count(l.Segments, "segment"), bytesText(l.Bytes))
	if l.BudgetBytes > 0 { // a node that is stopped has not measured its disk
		fmt.Fprintf(g.out, " of %s", bytesText(l.BudgetBytes))
	}
	switch {
	case l.Full:
		fmt.Fprint(g.out, ", full: new events are dropped")
	case l.FullIn > 0:
		fmt.Fprintf(g.out, ", full in %s", seconds(l.FullIn))
	}
	if !l.RewindTo.IsZero() {
		fmt.Fprintf(g.out, ", can be rewound to %s", l.RewindTo.Format("2006-01-02 15:04:05Z"))
	}
	if stopped := s.StartedAt.IsZero(); stopped {
		fmt.Fprintf(g.out, "\nkeys: from %s, which a stopped node does not read\n\n", s.Keys.Source)
	} else {
		fmt.Fprintf(g.out, "\nkeys: %d from %s, %s old\n\n", s.Keys.Count, s.Keys.Source, seconds(s.Keys.AgeSeconds))
	}
	if err := g.showCursors(s.Cursors); err != nil {
		return err
	}
	if len(s.Replays) > 0 {
		fmt.Fprintln(g.out)
		if err := g.showReplays(s.Replays); err != nil {
			return err
		}
	}
	return g.showLedger(s)
}

// dropped is the sum and, in brackets, the reasons that occurred.
func dropped(by map[string]uint64) string {
	sum, parts := uint64(0), []string{}
	for _, reason := range sortedKeys(by) {
		if by[reason] > 0 {
			sum += by[reason]
			parts = append(parts, fmt.Sprintf("%s %d", reason, by[reason]))
		}
	}
	if sum == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", sum, strings.Join(parts, ", "))
}
