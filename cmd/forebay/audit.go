package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"forebay/node/admin"
	"forebay/shipper"
)

// auditPoll is how often a running audit is looked at, and auditShown how often
// its progress is printed.
const (
	auditPoll  = 200 * time.Millisecond
	auditShown = 5 * time.Second
)

func newAudit(g *globals) *cobra.Command {
	var req admin.AuditRequest
	var from, to, why string
	var watch time.Duration
	var show bool
	c := &cobra.Command{
		Use:   "audit [clickhouse|session]",
		Short: "Prove that what was delivered is there; fill in what is missing",
		Long: `Ask a destination for every event that its cursor has delivered, as far back as
the log is kept. It names what is missing and what is there more than once by
seq; --fill delivers the missing ones alone. The node does it, one audit at a
time, and spends at most half of its time asking. Interrupting the command stops
it; --resume goes on behind what was compared.

It exits with 1 if something is missing.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("%s takes one cursor at most (see %s --help)", cmd.CommandPath(), cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Command, req.Cursor = command(why), "clickhouse"
			if len(args) == 1 {
				req.Cursor = args[0]
			}
			var err error
			if req.From, req.FromTime, err = parsePlace(from); err != nil {
				return err
			}
			if req.To, req.ToTime, err = parsePlace(to); err != nil {
				return err
			}
			return g.withNode(func(c *admin.Client) error {
				switch {
				case cmd.Flags().Changed("watch"):
					return g.watch(cmd.Context(), c, admin.WatchRequest{Command: req.Command, Every: admin.Duration(watch)})
				case show:
					return g.showAudits(cmd.Context(), c)
				case req.Resume:
					req = admin.AuditRequest{Command: req.Command, Resume: true}
				}
				return g.follow(cmd.Context(), c, req)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&from, "from", "", "the first event: a seq, or a time (default: the oldest that the log keeps)")
	f.StringVar(&to, "to", "", "the last event: a seq, or a time before which it was received\n(default: the last one delivered)")
	f.BoolVar(&req.Fill, "fill", false, "deliver once more what is missing in ClickHouse")
	f.BoolVar(&req.Resume, "resume", false, "go on with the last audit, if it was stopped or has failed")
	f.BoolVar(&show, "show", false, "show the audit that runs or the last one, and the watch; begin nothing")
	durationVar(f, &watch, "watch", 0, "have the node prove what comes, again after each so long\n(1m unless told), --watch=0 as configured")
	f.Lookup("watch").NoOptDefVal = "1m"
	f.StringVar(&why, "why", "", "reason, for the audit trail")
	for _, other := range []string{"from", "to", "fill"} {
		for _, mode := range []string{"resume", "show", "watch"} {
			c.MarkFlagsMutuallyExclusive(mode, other)
		}
	}
	c.MarkFlagsMutuallyExclusive("resume", "show", "watch")
	return c
}

// parsePlace reads a seq or a time; "" is neither.
func parsePlace(text string) (seq uint64, at time.Time, err error) {
	if text == "" {
		return 0, at, nil
	}
	if seq, err = strconv.ParseUint(text, 10, 64); err == nil && seq > 0 {
		return seq, at, nil
	}
	if at, err = parseTime(text); err != nil {
		return 0, at, usageError{fmt.Errorf("%q is neither a seq nor a time: %w", text, err)}
	}
	return 0, at, nil
}

// follow begins an audit, shows how it goes, and what it came to.
func (g *globals) follow(ctx context.Context, c *admin.Client, req admin.AuditRequest) error {
	r, err := c.StartAudit(ctx, req)
	if err != nil {
		return err
	}
	tick := time.NewTicker(auditPoll)
	defer tick.Stop()
	bar := g.progress("audit of " + r.Cursor)
	for shown := time.Now(); r.State == shipper.AuditRunning; {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		s, err := c.Audit(ctx)
		if ctx.Err() != nil {
			bar.end()
			return g.stopAudit(c)
		}
		if err != nil {
			return err
		}
		r = *s.Audit
		bar.set(int64(r.Next-r.From), int64(r.To+1-r.From))
		if time.Since(shown) >= auditShown && r.State == shipper.AuditRunning && (!bar.on || r.Error != "") {
			bar.end()
			shown = time.Now()
			fmt.Fprintln(g.err, auditProgress(r))
		}
	}
	bar.end()
	return g.showOutcome(r)
}

func auditProgress(r shipper.AuditReport) string {
	text := fmt.Sprintf("seq %d of %d to %d, %d compared, %d missing, %d double", r.Next, r.From, r.To, r.Compared, r.Missing, r.Doubles)
	if r.Fill {
		text += fmt.Sprintf(", %d filled in", r.Healed)
	}
	if r.Error != "" {
		text += "; trying again: " + r.Error
	}
	return text
}

// stopAudit ends the audit when the command is interrupted.
func (g *globals) stopAudit(c *admin.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := c.StopAudit(ctx, command("interrupted"))
	if err != nil {
		return fmt.Errorf("interrupted; the audit goes on in the node, unless it has ended: %w", err)
	}
	return g.showOutcome(r)
}

// showOutcome prints a report. It is an error if something is missing, or may be.
func (g *globals) showOutcome(r shipper.AuditReport) error {
	err := g.printJSONOr(r, func() error { return g.table(auditRows(r)...) })
	switch {
	case err != nil:
		return err
	case r.State == shipper.AuditStopped:
		return fmt.Errorf("the audit was stopped before seq %d: forebay audit --resume goes on", r.Next)
	case r.State == shipper.AuditFailed:
		return fmt.Errorf("the audit failed before seq %d: %s (forebay audit --resume goes on)", r.Next, r.Error)
	case r.Missing > 0:
		return fmt.Errorf("missing: %s", count(r.Missing, "event"))
	}
	return nil
}

func (g *globals) printJSONOr(v any, show func() error) error {
	if g.json {
		return g.printJSON(v)
	}
	return show()
}

// auditRows is a report for people.
func auditRows(r shipper.AuditReport) [][]string {
	rows := [][]string{{"audit of " + r.Cursor, fmt.Sprintf("%s, seq %d to %d", r.State, r.From, r.To)}}
	add := func(name string, n uint64, format string, args ...any) {
		if n > 0 {
			rows = append(rows, []string{name, fmt.Sprint(n) + fmt.Sprintf(format, args...)})
		}
	}
	if r.State == shipper.AuditNotOffered {
		return append(rows, []string{"answer", r.Error + ": nothing is known of what is there"})
	}
	rows = append(rows, []string{"compared", fmt.Sprint(r.Compared)})
	x := r.Excepted
	add("not asked for", x.Dead+x.Discarded+x.Skipped+x.Lost+x.Expired, ": %d dead, %d discarded, %d skipped, %d lost, %d expired",
		x.Dead, x.Discarded, x.Skipped, x.Lost, x.Expired)
	add("too old", r.TooOld, ": the table's TTL may have taken them")
	if r.NotKept > 0 && !r.Since.IsZero() {
		rows = append(rows, []string{"not kept", removedText(r.Removed, r.From)})
	} else {
		add("not kept", r.NotKept, ": the log does not hold them any more")
	}
	rows = append(rows, []string{"missing", fmt.Sprint(r.Missing) + named(r.Holes)})
	for _, b := range r.Behind {
		add("", b.Missing, " of session %s of project %s: it has seq %d, and should have %d", b.Session, b.Project, b.Have, b.Want)
	}
	for _, f := range r.Refused {
		rows = append(rows, []string{"", fmt.Sprintf("seq %d was refused: %s", f.Seq, f.Reason)})
	}
	add("filled in", r.Healed, "%s", named(r.Filled))
	rows = append(rows, []string{"double", fmt.Sprint(r.Doubles) + named(r.Double)})
	add("", r.Lasting, " of them do not merge away%s", named(r.Lasts))
	for _, note := range r.Notes {
		rows = append(rows, []string{"not kept of each", note})
	}
	if r.Truncated {
		rows = append(rows, []string{"", "lists name the first 1,000 only; --from goes on behind them"})
	}
	return rows
}

// named is what follows a count of seqs: ": 3, 7-9".
func named(ranges []shipper.Range) string {
	if len(ranges) == 0 {
		return ""
	}
	return ": " + rangesText(ranges)
}

// watch switches the watch and shows it.
func (g *globals) watch(ctx context.Context, c *admin.Client, req admin.WatchRequest) error {
	w, err := c.SetWatch(ctx, req)
	if err != nil {
		return err
	}
	return g.printJSONOr(w, func() error { return g.showWatch(w) })
}

func (g *globals) showWatch(w admin.Watch) error {
	if w.Every == 0 {
		_, err := fmt.Fprintln(g.out, "there is no watch: --watch begins one")
		return err
	}
	fmt.Fprintf(g.out, "the node compares what was delivered, again each %s\n", time.Duration(w.Every))
	rows := [][]string{{"CURSOR", "PROVEN TO SEQ", "AT", "MISSING", "DOUBLE", "LAST ERROR"}}
	for _, p := range w.Cursors {
		at := "-"
		if !p.ProvenAt.IsZero() {
			at = p.ProvenAt.Format(time.RFC3339)
		}
		rows = append(rows, []string{p.Cursor, fmt.Sprint(p.ProvenSeq), at, fmt.Sprint(p.Missing) + named(p.Holes), fmt.Sprint(p.Doubles), p.Error})
	}
	return g.table(rows...)
}

// showAudits prints the last audit and the watch.
func (g *globals) showAudits(ctx context.Context, c *admin.Client) error {
	s, err := c.Audit(ctx)
	if err != nil {
		return err
	}
	return g.printJSONOr(s, func() error {
		if s.Audit == nil {
			fmt.Fprintln(g.out, "there was no audit yet")
		} else {
			err = errors.Join(g.table(auditRows(*s.Audit)...), g.showUnfinished(*s.Audit))
		}
		return errors.Join(err, g.showWatch(s.Watch))
	})
}

// showUnfinished says how far an audit came that is not done.
func (g *globals) showUnfinished(r shipper.AuditReport) error {
	if r.State == shipper.AuditDone || r.State == shipper.AuditNotOffered {
		return nil
	}
	_, err := fmt.Fprintln(g.out, "came to "+auditProgress(r))
	return err
}
