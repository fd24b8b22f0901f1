package main

import (
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

func newCursor(g *globals) *cobra.Command {
	c := &cobra.Command{Use: "cursor", Short: "Inspect, pause, step and move the shippers' cursors"}
	c.AddCommand(newCursorList(g), newCursorShow(g), newCursorPause(g), newCursorResume(g), newCursorRetry(g), newCursorStep(g),
		newCursorRewind(g), newCursorUndo(g))
	return c
}

func newCursorList(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the cursors", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				all, err := c.Cursors(cmd.Context())
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(all)
				}
				return g.showCursors(all)
			})
		},
	}
}

func (g *globals) showCursors(all []shipper.Status) error {
	rows := [][]string{{"CURSOR", "STATE", "NEXT", "EPOCH", "LAG", "OLDEST", "RATE", "DEAD", "WHY"}}
	for _, s := range all {
		rows = append(rows, []string{
			s.Name, stateText(s), fmt.Sprint(s.NextSeq), fmt.Sprint(s.Epoch), fmt.Sprint(s.LagEvents),
			seconds(s.LagSeconds), fmt.Sprintf("%.0f/s", s.RatePerSecond), fmt.Sprint(s.Dead), whyCursor(s),
		})
	}
	return g.table(rows...)
}

// stateText is a cursor's state: one that would run does not while its node is
// stopped.
func stateText(s shipper.Status) string {
	if s.Stopped && s.State == shipper.Running {
		return "stopped"
	}
	return s.State
}

func newCursorShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show all there is to know of one cursor", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				s, err := c.Cursor(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(s)
				}
				return g.showCursor(s)
			})
		},
	}
}

func (g *globals) showCursor(s shipper.Status) error {
	rows := [][]string{
		{"cursor", s.Name},
		{"state", stateText(s)},
		{"next seq", fmt.Sprint(s.NextSeq)},
		{"epoch", fmt.Sprint(s.Epoch)},
		{"lag", fmt.Sprintf("%s, %s", count(s.LagEvents, "event"), seconds(s.LagSeconds))},
		{"rate", fmt.Sprintf("%.1f events/s over the last minute", s.RatePerSecond)},
	}
	add := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	if !s.OldestUnshipped.IsZero() {
		add("oldest unshipped", "%s", s.OldestUnshipped.Format(time.RFC3339Nano))
	}
	if s.Capacity > 0 {
		add("pace", "%.0f events/s when it was last behind, %s ago", s.Capacity, ago(s.CapacityAt))
	}
	if s.CatchUpSeconds > 0 {
		add("catches up in", "%s at that pace", seconds(s.CatchUpSeconds))
	}
	if s.ReplayTo > 0 {
		add("replays", "up to seq %d", s.ReplayTo)
	}
	if p := s.Pause; p != nil {
		add("paused", "by %s %s ago, %s: %s", p.By, ago(p.Since), untilText(p), p.Reason)
	}
	if s.Parked != nil {
		add("parked", "%s", strings.TrimPrefix(parkedText(s), "parked "))
		add("", "%s", s.Parked.Cause)
	}
	if s.LastError != "" {
		add("last error", "%s", s.LastError)
		switch {
		case !s.ErrorEnded.IsZero():
			add("", "over since %s ago, it began %s ago", ago(s.ErrorEnded), ago(s.ErrorSince))
		case s.ErrorCount > 0:
			add("", "first %s ago, %s failed%s", ago(s.ErrorSince), count(s.ErrorCount, "try"), nextTry(s.NextTry))
		}
	}
	if s.Advice != "" {
		add("what to do", "%s", s.Advice)
	}
	if p := s.Plan; p != nil {
		add("plan in flight", "seq %d to %d, %d rows, token %s, since %s", p.First, p.Last, p.Rows, p.Token, ago(p.At))
	}
	add("dead letters", "%d (%d requeued, %d discarded so far)", s.Dead, s.Requeued, s.Discarded)
	for _, r := range []struct {
		name   string
		ranges []shipper.Range
	}{{"lost to damage", s.Lost}, {"gone by retention", s.Expired}, {"skipped", s.Skipped}} {
		if len(r.ranges) > 0 {
			add(r.name, "%s", rangesText(r.ranges))
		}
	}
	if err := g.table(rows...); err != nil {
		return err
	}
	if s.Sink == nil {
		return nil
	}
	fmt.Fprintln(g.out, "sink:")
	return g.printJSON(s.Sink)
}

// rangesText names seqs: "3, 7-9".
func rangesText(ranges []shipper.Range) string {
	parts := []string{}
	for _, r := range ranges {
		text := fmt.Sprint(r.First)
		if r.First < r.Last {
			text += fmt.Sprintf("-%d", r.Last)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// command is who asks and why, for the audit trail: FOREBAY_OPERATOR, else
// the user of this process at this host.
func command(why string) admin.Command {
	by := os.Getenv("FOREBAY_OPERATOR")
	if by == "" {
		by = "unknown"
		if u, err := user.Current(); err == nil {
			by = u.Username
		}
		if host, err := os.Hostname(); err == nil {
			by += "@" + host
		}
	}
	return admin.Command{By: by, Why: why}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
