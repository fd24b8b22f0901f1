package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
)

func newStatus(g *globals) *cobra.Command {
	var nodes []string
	var check bool
	var every time.Duration
	cmd := &cobra.Command{
		Use: "status", Short: "Show whether a node, or many, accept and ship, and why not", Args: exactArgs(),
		Long: `Show whether a node accepts, stores and ships events, and if not why, since when
and what to do. With --nodes it shows many nodes side by side; it exits with 1 if
one of them does not answer.

With --check it prints a line for each node, and exits as a plugin of Nagios: 0 if
all is in order, 1 if something is not, dead letters included, 2 if traffic should
go elsewhere or there is no answer.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case check:
				return g.check(g.ask(cmd.Context(), nodes))
			case every > 0:
				return g.live(cmd.Context(), every, 0, func(g *globals) error { return g.status(cmd.Context(), nodes) })
			case cmd.Flags().Changed("watch"):
				return usageError{errors.New("--watch takes a duration above 0, such as 2s")}
			}
			return g.status(cmd.Context(), nodes)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&nodes, "nodes", nil, "admin `ADDRESSES` of nodes to show side by side, by comma; one token for all")
	f.BoolVar(&check, "check", false, "print a line, and exit with 0, 1 or 2, for a monitoring system")
	durationVar(f, &every, "watch", 0, "show it again after each so long (2s unless told), until Ctrl-C")
	f.Lookup("watch").NoOptDefVal = "2s"
	cmd.MarkFlagsMutuallyExclusive("check", "watch")
	return cmd
}

// status shows a node, or many side by side.
func (g *globals) status(ctx context.Context, nodes []string) error {
	if len(nodes) > 0 {
		return g.statusOfNodes(ctx, nodes)
	}
	return g.withNode(func(c *admin.Client) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if g.json {
			return g.printJSON(s)
		}
		return g.showStatus(s)
	})
}

// ask asks the nodes, or the one that the flags name. What keeps a node from
// being asked is its error.
func (g *globals) ask(ctx context.Context, nodes []string) (rows []admin.NodeStatus) {
	var err error
	if len(nodes) > 0 {
		if rows, err = g.askNodes(ctx, nodes); err == nil {
			return rows
		}
	}
	one := admin.NodeStatus{Addr: g.address()}
	if err == nil {
		err = g.withNode(func(c *admin.Client) error {
			s, err := c.Status(ctx)
			one.Status = &s
			return err
		})
	}
	if err != nil {
		one.Status, one.Error = nil, err.Error()
	}
	return []admin.NodeStatus{one}
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
	if d := s.Descriptors; d != nil {
		fmt.Fprintf(g.out, "\ndescriptors: %d of %d open, %d of %d connections", d.Open, d.Limit, d.Connections, d.MaxConnections)
	}
	fmt.Fprintf(g.out, "\n%s\n\n", keysText(s.Keys))
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

// keysText says where the keys are from, and how true they are.
func keysText(k admin.KeyStatus) string {
	text := fmt.Sprintf("keys: %d from %s, %s old", k.Count, k.Source, seconds(k.AgeSeconds))
	switch {
	case !k.Known:
		text = fmt.Sprintf("keys: never read from %s", k.Source)
	case !k.Answered:
		text += ", from the cache"
	}
	if k.Doubt != nil {
		text += fmt.Sprintf(", of which %d are gone from it and in doubt", k.Doubt.Lost)
	}
	if k.Denied > 0 {
		text += fmt.Sprintf(", %d denied on this node", k.Denied)
	}
	return text
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
