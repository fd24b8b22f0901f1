package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

func newTrace(g *globals) *cobra.Command {
	var key bool
	var project string
	c := &cobra.Command{
		Use: "trace KEY|SEQ", Short: "Follow one event from its request to its destinations",
		Long: `Follow one event from the request that brought it to its destinations, as far
back as the log is kept. A number is a seq, anything else the event's
idempotency key; --key takes a number as a key, too.

It exits with 1 if the event is not in the log.`,
		Args: exactArgs("KEY|SEQ"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := admin.TraceQuery{Project: project}
			if seq, err := strconv.ParseUint(args[0], 10, 64); err == nil && !key && seq > 0 {
				q.Seq = seq
			} else {
				q.Key = args[0]
			}
			return g.withNode(func(c *admin.Client) error {
				t, err := c.Trace(cmd.Context(), q)
				if err != nil {
					return err
				}
				if g.json {
					err = g.printJSON(t)
				} else {
					err = g.showTrace(t)
				}
				if err == nil && !t.Found {
					err = errors.New(t.Answer)
				}
				return err
			})
		},
	}
	c.Flags().BoolVar(&key, "key", false, "the argument is an idempotency key, even if it is a number")
	c.Flags().StringVar(&project, "project", "", "whose key it is (default: of any project that the node has counted)")
	return c
}

func (g *globals) showTrace(t admin.Trace) error {
	for _, e := range t.Events {
		if err := g.table(traceRows(e)...); err != nil {
			return err
		}
	}
	for _, d := range t.Drops {
		fmt.Fprintf(g.out, "dropped %s as %s %s %s\n", d.Time.Format(time.RFC3339Nano), d.Reason, d.Field, d.Rule)
	}
	for _, d := range t.Damaged {
		fmt.Fprintf(g.out, "seqs %d to %d are damaged (%s) and may hold the key\n", d.First, d.Last, d.Reason)
	}
	return nil
}

// traceRows are the stations of one event.
func traceRows(e admin.TracedEvent) (rows [][]string) {
	add := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	add("seq", "%d of log %s", e.Seq, e.LogID)
	if b, r := e.Block, e.Request; b != nil && r != nil {
		add("received", "%s, project %s, session %s, %s, key %s", e.ReceivedAt.Format(time.RFC3339Nano), e.Project, e.Session, e.EventType, e.IdempotencyKey)
		add("request", "seq %d to %d, sdk %s, app %s", r.FirstSeq, r.FirstSeq+uint64(r.Events)-1, r.SDKVersion, r.AppID)
		add("block", "number %d, seq %d to %d, %d requests, %s at byte %d", b.Number, b.FirstSeq, b.FirstSeq+uint64(b.Events)-1, b.Requests, b.File, b.Offset)
	}
	if e.Gone != nil {
		add("not in the log", "%s", e.Gone.Reason)
	}
	for _, f := range e.Cursors {
		add(f.Cursor, "%s", fateText(f))
	}
	if r := e.ClickHouse; r != nil {
		if r.Error != "" {
			add("its row", "not known: %s", r.Error)
		} else {
			add("its row", "%d in the table, parts %v, says %s", r.Count, r.Parts, r.Addr)
		}
	}
	if m := e.Receiver; m != nil {
		switch {
		case m.Error != "":
			add("its session", "not known: %s", m.Error)
		case !m.Offered:
			add("its session", "the Session Manager does not offer its marks")
		case len(m.Marks) == 0:
			add("its session", "the Session Manager does not know it")
		}
		for _, mark := range m.Marks {
			if mark.LogID == e.LogID {
				gaps := "without gaps"
				if len(mark.Gaps) > 0 {
					gaps = "gaps " + mark.Gaps.String()
				}
				add("its session", "the Session Manager has it up to seq %d, epoch %d, %s", mark.Seq, mark.Epoch, gaps)
			}
		}
	}
	return rows
}

// fateText is what became of an event at a cursor.
func fateText(f shipper.Fate) string {
	text := f.State
	switch {
	case f.Letter != nil:
		text += fmt.Sprintf(" since %s after %s: %s", f.Letter.BuriedAt.Format(time.RFC3339), count(f.Letter.Attempts, "attempt"), f.Letter.Reason)
	case f.Plan != nil:
		text += fmt.Sprintf(" %s, seq %d to %d, attempt %d, token %s", f.Plan.At.Format(time.RFC3339), f.Plan.First, f.Plan.Last, f.Plan.Attempts, f.Plan.Token)
	case f.State == shipper.Pending:
		text += fmt.Sprintf(", %s before it", count(f.Ahead, "event"))
	}
	if f.Before {
		text += "; was delivered before a rewind"
	}
	if f.Paused != nil {
		text += fmt.Sprintf("; the cursor is paused by %s: %s", f.Paused.By, f.Paused.Reason)
	}
	if f.Error != "" {
		text += "; last error: " + f.Error
	}
	return text
}
