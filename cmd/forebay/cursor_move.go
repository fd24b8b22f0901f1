package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

func newCursorPause(g *globals) *cobra.Command {
	var d time.Duration
	var why string
	cmd := &cobra.Command{
		Use: "pause NAME", Short: "Pause a cursor once its requests in flight have ended", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				s, err := c.Pause(cmd.Context(), args[0], admin.PauseRequest{Command: command(why), For: admin.Duration(d)})
				return g.showState(s, err)
			})
		},
	}
	durationVar(cmd.Flags(), &d, "for", 0, "how long, such as 2h; 0 is until it is resumed")
	cmd.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return cmd
}

func newCursorResume(g *globals) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "resume NAME", Short: "Let a paused cursor go on", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				s, err := c.Resume(cmd.Context(), args[0], command(why))
				return g.showState(s, err)
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return cmd
}

func newCursorRetry(g *globals) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "retry NAME", Short: "Try now what fails, and end a pause that the cursor took itself", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				s, err := c.Retry(cmd.Context(), args[0], command(why))
				return g.showState(s, err)
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return cmd
}

func (g *globals) showState(s shipper.Status, err error) error {
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(s)
	}
	once := ""
	if s.Stopped && s.State == shipper.Running {
		once = " once the node is started"
	}
	_, err = fmt.Fprintf(g.out, "%s is %s%s, at seq %d, %s behind\n", s.Name, s.State, once, s.NextSeq, count(s.LagEvents, "event"))
	return err
}

func newCursorStep(g *globals) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "step NAME", Short: "Let a paused cursor deliver exactly one batch", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				m, err := c.Step(cmd.Context(), args[0], command(why))
				return g.showMoved("stepped", m, err)
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return cmd
}

func newCursorUndo(g *globals) *cobra.Command {
	var why string
	var yes bool
	cmd := &cobra.Command{
		Use: "undo NAME", Short: "Take back the last rewind or skip; without --yes only say what that means", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				m, err := c.Undo(cmd.Context(), args[0], admin.UndoRequest{Command: command(why), Preview: !yes})
				if err != nil || yes {
					return g.showMoved("returned", m, err)
				}
				return g.showUndoing(m)
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

// showUndoing says what an undo would do.
func (g *globals) showUndoing(m shipper.Moved) error {
	if g.json {
		return g.printJSON(m)
	}
	text := "it has come past where it stood before the last move, so it stays where it is and counts as not moved"
	switch {
	case m.To > m.From:
		text = fmt.Sprintf("forward from seq %d to %d: the rest of the rewind is not delivered again", m.From, m.To)
	case m.To < m.From:
		text = fmt.Sprintf("back from seq %d to %d: what was skipped is delivered", m.From, m.To)
	}
	_, err := fmt.Fprintf(g.out, "%s: %s\nnothing has changed: add --yes to do it\n", m.Cursor, text)
	return err
}

func (g *globals) showMoved(what string, m shipper.Moved, err error) error {
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(m)
	}
	_, err = fmt.Fprintf(g.out, "%s %s from seq %d to %d in epoch %d\n", m.Cursor, what, m.From, m.To, m.Epoch)
	return err
}

func newCursorRewind(g *globals) *cobra.Command {
	var req admin.RewindRequest
	var toTime, why string
	var back time.Duration
	cmd := &cobra.Command{
		Use:   "rewind NAME (--to-seq N | --to-time T | --to-start | --by 10m | --skip-to N | --skip-to-end)",
		Short: "Move a cursor, to deliver again or to pass over; without --yes only say what that means",
		Long: `Move a cursor back, so that everything from there on is delivered again in a
new epoch; or, with --skip-to, forward over events that will not be delivered.
Without --yes nothing is moved: the command says what would be touched.
"forebay cursor undo" takes the last move back.`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if toTime != "" {
				t, err := parseTime(toTime)
				if err != nil {
					return usageError{err}
				}
				req.ToTime = t
			}
			req.Command, req.Back = command(why), admin.Duration(back)
			return g.withNode(func(c *admin.Client) error {
				r, err := c.Rewind(cmd.Context(), args[0], req)
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(r)
				}
				return g.showRewind(r)
			})
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&req.ToSeq, "to-seq", 0, "to this event, the first to be delivered again")
	f.StringVar(&toTime, "to-time", "", "to the first event received then or later, such as 2026-11-23T10:00:00Z")
	f.BoolVar(&req.ToStart, "to-start", false, "to the oldest event that is kept")
	durationVar(f, &back, "by", 0, "so long before the last event delivered, such as 10m")
	f.Uint64Var(&req.SkipTo, "skip-to", 0, "forward to this event; what lies before is counted as skipped")
	f.BoolVar(&req.SkipEnd, "skip-to-end", false, "forward over everything there is")
	f.StringVar(&why, "why", "", "reason, for the audit trail")
	f.BoolVar(&req.Apply, "yes", false, "do it")
	cmd.MarkFlagsMutuallyExclusive("to-seq", "to-time", "to-start", "by", "skip-to", "skip-to-end")
	cmd.MarkFlagsOneRequired("to-seq", "to-time", "to-start", "by", "skip-to", "skip-to-end")
	return cmd
}

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("a time looks like 2026-11-23T10:00:00Z; without a zone it is UTC")
}

func (g *globals) showRewind(r admin.RewindReply) error {
	direction := "back"
	if r.Verb == "skip" {
		direction = "forward"
	}
	rows := [][]string{
		{"cursor", fmt.Sprintf("%s: %s from seq %d to %d", r.Cursor, direction, r.From, r.To)},
		{"events", fmt.Sprintf("%d (%s)", r.Events, bytesText(r.Bytes))},
		{"sessions", atLeast(r.Sessions, r.AtLeast)},
		{"projects", strings.Join(r.Projects, ", ")},
		{"days", strings.Join(r.Days, ", ")},
	}
	if r.Verb == "rewind" {
		rows = append(rows, []string{"delivered before", fmt.Sprintf("%d, expected as duplicates", r.Duplicates)})
		rows = append(rows, []string{"done in", estimate(r.Preview)})
	}
	if r.Lost > 0 {
		rows = append(rows, []string{"lost to damage", fmt.Sprint(r.Lost)})
	}
	if r.NotKept > 0 {
		rows = append(rows, []string{"no longer kept", removedText(r.Removed, r.Oldest)})
	}
	if err := g.table(rows...); err != nil {
		return err
	}
	if r.Applied {
		_, err := fmt.Fprintf(g.out, "done, in epoch %d\n", r.Epoch)
		return err
	}
	_, err := fmt.Fprintln(g.out, "nothing has changed: add --yes to do it")
	return err
}

// estimate is how long a rewind takes, as far as that is known.
func estimate(p shipper.Preview) string {
	switch {
	case p.Seconds > 0:
		return fmt.Sprintf("about %s at %.0f events/s, its pace when it was last behind (%s ago)", seconds(p.Seconds), p.Capacity, ago(p.CapacityAt))
	case p.Events == 0:
		return "nothing to do"
	}
	return "unknown: since the start of the node the cursor has not been behind for long enough to tell its pace"
}

// removedText says what of a range is gone, of which oldest is the first seq
// that is kept.
func removedText(r shipper.Removed, oldest uint64) string {
	if !r.AtMost {
		return fmt.Sprintf("%s before seq %d", count(r.NotKept, "event"), oldest)
	}
	text := fmt.Sprintf("at most %s before seq %d", count(r.NotKept, "event"), oldest)
	if r.Since.IsZero() {
		return text
	}
	if r.Until.IsZero() {
		return fmt.Sprintf("all that was received since %s: %s", r.Since.Format(time.RFC3339), text)
	}
	return fmt.Sprintf("what was received from %s to %s (%s): %s", r.Since.Format(time.RFC3339), r.Until.Format(time.RFC3339), seconds(r.Until.Sub(r.Since).Seconds()), text)
}

func atLeast(n int, more bool) string {
	if more {
		return fmt.Sprintf("at least %d", n)
	}
	return fmt.Sprint(n)
}
