package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

func newReplayList(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the replays that have not ended, and the last 20 that have", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return g.withNode(func(c *admin.Client) error {
				all, err := c.Replays(cmd.Context())
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(all)
				}
				return g.showReplays(all)
			})
		},
	}
}

func (g *globals) showReplays(all []shipper.Replay) error {
	rows := [][]string{{"REPLAY", "STATE", "INTO", "RANGE", "PROGRESS", "DELIVERED", "REFUSED", "LEFT", "LAST ERROR"}}
	for _, r := range all {
		rows = append(rows, []string{
			r.Name, r.State, destinationText(r.Destination), fmt.Sprintf("%d-%d", r.First, r.Last), progressText(r),
			fmt.Sprint(r.Delivered), fmt.Sprint(r.Refused), leftText(r), r.LastError,
		})
	}
	return g.table(rows...)
}

// progressText never says 100 % before the end.
func progressText(r shipper.Replay) string { return fmt.Sprintf("%d %%", int(r.Progress*100)) }

func leftText(r shipper.Replay) string {
	if r.SecondsLeft <= 0 {
		return "-"
	}
	return seconds(r.SecondsLeft)
}

func newReplayShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show all there is to know of one replay", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				r, err := c.Replay(cmd.Context(), args[0])
				return g.showReplay(r, err)
			})
		},
	}
}

func newReplayPause(g *globals) *cobra.Command {
	var d time.Duration
	var why string
	c := &cobra.Command{
		Use: "pause NAME", Short: "Pause a replay once its requests in flight have ended", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				r, err := c.PauseReplay(cmd.Context(), args[0], admin.PauseRequest{Command: command(why), For: admin.Duration(d)})
				return g.showReplay(r, err)
			})
		},
	}
	durationVar(c.Flags(), &d, "for", 0, "how long, such as 2h; 0 is until it is resumed")
	c.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return c
}

// newReplayChange is resume or cancel.
func newReplayChange(g *globals, verb, short string, change func(*admin.Client, context.Context, string, admin.Command) (shipper.Replay, error)) *cobra.Command {
	var why string
	c := &cobra.Command{
		Use: verb + " NAME", Short: short, Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.withNode(func(c *admin.Client) error {
				r, err := change(c, cmd.Context(), args[0], command(why))
				return g.showReplay(r, err)
			})
		},
	}
	c.Flags().StringVar(&why, "why", "", "reason, for the audit trail")
	return c
}

func (g *globals) showReplay(r shipper.Replay, err error) error {
	if err != nil {
		return err
	}
	if g.json {
		return g.printJSON(r)
	}
	rows := append([][]string{{"replay", r.Name}, {"state", r.State}}, replayRows(r.ReplaySpec)...)
	add := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	add("started", "%s by %s in epoch %d: %s", r.StartedAt.Format(time.RFC3339), r.By, r.Epoch, r.Why)
	if r.Over() {
		add("ended", "%s", r.EndedAt.Format(time.RFC3339))
	} else {
		add("next seq", "%d, %s done, %.1f seqs/s over the last minute", r.NextSeq, progressText(r), r.PassedRate)
	}
	if r.SecondsLeft > 0 {
		add("done in", "%s at its pace", seconds(r.SecondsLeft))
	}
	add("delivered", "%s", count(r.Delivered, "event"))
	if len(r.Lost) > 0 {
		add("lost to damage", "%s", rangesText(r.Lost))
	}
	if len(r.Expired) > 0 {
		add("gone by retention", "%s", rangesText(r.Expired))
	}
	if p := r.Pause; p != nil {
		add("paused", "by %s since %s: %s", p.By, ago(p.Since), p.Reason)
	}
	if r.LastError != "" {
		add("last error", "%s", r.LastError)
	}
	if p := r.Plan; p != nil {
		add("plan in flight", "seq %d to %d, %d rows, token %s, since %s", p.First, p.Last, p.Rows, p.Token, ago(p.At))
	}
	add("refused", "%s", count(r.Refused, "event"))
	for _, f := range r.Refusals {
		add("", "seq %d: %s", f.Seq, f.Reason)
	}
	return g.table(rows...)
}
