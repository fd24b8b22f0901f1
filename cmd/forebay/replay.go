package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

func newReplay(g *globals) *cobra.Command {
	var req admin.ReplayRequest
	var fromTime, toTime, why string
	c := &cobra.Command{
		Use:   "replay --into clickhouse|session",
		Short: "Deliver a part of the log once more, beside the live cursors",
		Long: `Deliver a part of the log once more, into the configured table or Session
Manager or into another one, beside the live cursors, which do not notice. The
part is a range of seqs or of time, and of that what the filters select. Without
--yes nothing is delivered: the command says what would be.

A replay goes on over restarts until it has come to its end or is canceled:
"forebay replay list" shows how far it is.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for text, into := range map[*string]*time.Time{&fromTime: &req.FromTime, &toTime: &req.ToTime} {
				if *text == "" {
					continue
				}
				t, err := parseTime(*text)
				if err != nil {
					return usageError{err}
				}
				*into = t
			}
			req.Command = command(why)
			return g.withNode(func(c *admin.Client) error {
				r, err := c.StartReplay(cmd.Context(), req)
				if err != nil {
					return err
				}
				if g.json {
					return g.printJSON(r)
				}
				return g.showStarted(r)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&req.Into, "into", "", "clickhouse or session")
	f.StringVar(&req.Table, "table", "", "another table than the configured one")
	f.StringVar(&req.Database, "database", "", "another database than the configured one")
	f.StringSliceVar(&req.Addrs, "addrs", nil, "other ClickHouse servers, host:port; the password goes to those in shippers.clickhouse.replay_addrs alone")
	f.StringVar(&req.URL, "url", "", "another Session Manager; the token goes to those in shippers.session.replay_urls alone")
	f.StringArrayVar(&req.Projects, "project", nil, "only this project; may be repeated")
	f.StringArrayVar(&req.Sessions, "session", nil, "only this session; may be repeated")
	f.StringSliceVar(&req.Types, "type", nil, "only events of these types, such as click,scroll")
	f.Uint64Var(&req.First, "from-seq", 0, "from this event on; default the oldest that is kept")
	f.Uint64Var(&req.Last, "to-seq", 0, "up to this event; default the newest")
	f.StringVar(&fromTime, "from-time", "", "from the first event received then or later, such as 2026-11-23T10:00:00Z")
	f.StringVar(&toTime, "to-time", "", "up to the last event received before then")
	f.IntVar(&req.Rate, "rate", 0, "at most so many events a second; 0 is no limit")
	f.StringVar(&req.Name, "name", "", "its name; default replay-N")
	f.StringVar(&why, "why", "", "reason, for the audit trail")
	f.BoolVar(&req.Apply, "yes", false, "do it")
	c.MarkFlagsMutuallyExclusive("from-seq", "from-time")
	c.MarkFlagsMutuallyExclusive("to-seq", "to-time")
	c.MarkFlagsOneRequired("into")
	c.AddCommand(newReplayList(g), newReplayShow(g), newReplayPause(g),
		newReplayChange(g, "resume", "Let a paused replay go on", (*admin.Client).ResumeReplay),
		newReplayChange(g, "cancel", "End a replay for good; what it has delivered stays delivered", (*admin.Client).CancelReplay))
	return c
}

func (g *globals) showStarted(r admin.ReplayReply) error {
	if r.Preview == nil {
		_, err := fmt.Fprintf(g.out, "%s has begun, in epoch %d: forebay replay show %s tells how far it is\n", r.Replay.Name, r.Replay.Epoch, r.Replay.Name)
		return err
	}
	p := r.Preview
	rows := append(replayRows(p.Spec), [][]string{
		{"events", fmt.Sprintf("%d (%s)", p.Events, bytesText(p.Bytes))},
		{"sessions", atLeast(p.Sessions, p.AtLeast)},
		{"projects", strings.Join(p.Projects, ", ")},
		{"days", strings.Join(p.Days, ", ")},
	}...)
	if p.SameAs != "" {
		rows = append(rows, []string{"delivered before", fmt.Sprintf("%d, expected as duplicates", p.Duplicates)})
	}
	if p.Seconds > 0 {
		rows = append(rows, []string{"done in", seconds(p.Seconds) + " at that rate"})
	}
	if p.Lost > 0 {
		rows = append(rows, []string{"lost to damage", fmt.Sprint(p.Lost)})
	}
	if p.NotKept > 0 {
		rows = append(rows, []string{"no longer kept", removedText(p.Removed, p.Spec.First)})
	}
	if err := g.table(rows...); err != nil {
		return err
	}
	if p.SameAs == "session" {
		fmt.Fprintln(g.out, "the Session Manager gets these events, marked as a replay, beside the live ones of the same sessions;\nto have it get whole sessions again in one order, use forebay cursor rewind session")
	}
	_, err := fmt.Fprintln(g.out, "nothing has changed: add --yes to do it")
	return err
}

// replayRows say what a replay is to do.
func replayRows(s shipper.ReplaySpec) [][]string {
	rows := [][]string{{"into", destinationText(s.Destination)}, {"range", fmt.Sprintf("seq %d to %d", s.First, s.Last)}}
	for _, f := range []struct {
		name   string
		values []string
	}{{"of projects", s.Projects}, {"of sessions", s.Sessions}, {"of types", s.Types}} {
		if len(f.values) > 0 {
			rows = append(rows, []string{f.name, strings.Join(f.values, ", ")})
		}
	}
	if s.Rate > 0 {
		rows = append(rows, []string{"rate limit", fmt.Sprintf("%d events/s", s.Rate)})
	}
	return rows
}

func destinationText(d shipper.Destination) string {
	text := d.Into
	for _, part := range []struct{ name, value string }{
		{"table", d.Table}, {"database", d.Database}, {"at", strings.Join(d.Addrs, ", ")}, {"at", d.URL},
	} {
		if part.value != "" {
			text += ", " + part.name + " " + part.value
		}
	}
	return text
}
