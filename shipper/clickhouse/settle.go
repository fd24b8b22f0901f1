package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"forebay/shipper"
)

// maxUnseen is how many acknowledged inserts may leave rows unseen before
// the cursor pauses.
const maxUnseen = 3

// attempt is the last insert of a plan.
type attempt struct {
	rows     []int // nil: the plan was found at a start, what was sent last is not known
	token    string
	sent     bool   // some of it may have left this process
	err      error  // nil: acknowledged
	compared bool   // a read after it can tell its rows from earlier ones
	partial  bool   // there were inserts before it, or more are to come
	shape    string // of the table that it was made for
}

// refused tells whether a row's content is named as the cause, or is what is
// too large by itself.
func (a attempt) refused() bool {
	c, _ := classify(a.err)
	return a.err != nil && (c == badRow || a.alone())
}

// failedView is the view that failed on rows that are in the table.
func (a attempt) failedView() (view string, failed bool) {
	var e *serverError
	if !errors.As(a.err, &e) {
		return "", false
	}
	return e.view, e.view != "" || e.class == badRow
}

// resume settles the plan that was under way when the last run ended.
func (d *delivery) resume(ctx context.Context, plan shipper.Plan) error {
	batch, err := d.feed.Read(ctx, plan.First, plan.Last)
	if err != nil {
		return err
	}
	if err := d.loadBuried(plan); err != nil {
		return err
	}
	if !slices.Contains(d.sink.opts.Addrs, plan.Addr) {
		d.sink.opts.Logger.Warn("the plan under way was sent to an address that is no longer configured: settling it at those that are", "plan", plan.Token, "addr", plan.Addr)
	}
	pieces := split(batch)
	b := prepare(pieces[0], d.sink.opts.NodeID, nil)
	last := attempt{token: plan.Token}
	if len(pieces) > 1 || b.token(d.feed.Cursor(), plan.Epoch) != plan.Token {
		d.sink.opts.Logger.Warn("the plan's events cannot be read again as they were: settling it by its seqs, under new tokens",
			"plan", plan.Token, "rows_then", plan.Rows, "rows_now", b.rows())
		plan.Stage = stageRepair + strconv.Itoa(repairs(plan)+1)
	}
	for i, piece := range pieces {
		if i > 0 {
			b = prepare(piece, d.sink.opts.NodeID, nil)
		}
		if len(b.unreadable) > 0 {
			if err := d.feed.Bury(b.unreadable); err != nil {
				return err
			}
		}
		if b.rows() == 0 {
			err = d.advance(b)
		} else {
			err = d.settle(ctx, plan, b, last)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settle ends a plan whose outcome is open: it reads which rows are in the
// table, sends those that are not, and reads again.
func (d *delivery) settle(ctx context.Context, plan shipper.Plan, b *block, last attempt) error {
	unseen := 0
	for {
		missing, err := d.missing(ctx, plan, b, b.all())
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return d.settled(b, last)
		}
		if last.refused() && last.compared && within(last.rows, missing) && d.server.shape() == last.shape {
			if last, err = d.sift(ctx, &plan, b, last); err != nil {
				return err
			}
			continue
		}
		if last.err == nil && slices.ContainsFunc(last.rows, func(row int) bool { return within([]int{row}, missing) }) {
			if unseen++; unseen >= maxUnseen {
				return d.unseen(ctx, b, missing)
			}
		}
		if err := d.reactToInsert(ctx, b, last); err != nil {
			return err
		}
		srv, err := d.reach(ctx, plan.Addr)
		if err != nil {
			return err
		}
		if missing, err = d.fitting(ctx, srv, plan, b, missing); err != nil {
			return err
		}
		if len(missing) == 0 {
			return d.settled(b, attempt{})
		}
		pieces := d.again(&plan, b, last, missing)
		plan.Addr = srv.addr
		plan.Attempts++
		if err := d.feed.SavePlan(plan); err != nil {
			return err
		}
		d.sink.stats.change(func(s *Stats) { s.Repaired += uint64(len(missing)) })
		if last, err = d.sendAll(ctx, plan, b, pieces); err != nil {
			return err
		}
	}
}

// within tells whether all rows are among others; both ascend.
func within(rows, others []int) bool {
	for _, row := range rows {
		if _, found := slices.BinarySearch(others, row); !found {
			return false
		}
	}
	return true
}

// settled advances over the plan. If the last insert failed although its
// rows are there, it was a materialized view that failed, and the cursor
// pauses: every further insert would leave that view short.
func (d *delivery) settled(b *block, last attempt) error {
	view, failed := last.failedView()
	if err := d.advance(b); err != nil {
		return err
	}
	d.sink.stats.change(func(s *Stats) { s.Settled++ })
	if !failed {
		return nil
	}
	if view == "" {
		view = "(see the message)"
	}
	return &shipper.PauseError{
		Reason: fmt.Sprintf("materialized view %s failed; the rows themselves are in the table: mend or drop the view, fill it for seqs %d to %d of log %s, then resume",
			view, b.first, b.last, b.logID),
		Err: last.err,
	}
}

// idle returns an error while the server still works on inserts of the cursor:
// reading then would miss rows that are about to appear, and take those of an
// earlier epoch for this one's. A user who may not look does without; the tokens
// then hold alone. It returns when the server was started, as far as known.
func (c *server) idle(ctx context.Context, plan shipper.Plan, b *block, cursor string) (time.Time, error) {
	running, started, err := c.running(ctx, b.logID+":"+cursor+":")
	if err != nil {
		if c, _ := classify(err); c == needsOperator {
			return time.Now(), nil
		}
		return started, err
	}
	if running {
		return started, fmt.Errorf("%s: still works on insert %s or one before it", c.addr, plan.Token)
	}
	return started, nil
}

// nextRepair moves the plan to its next repair stage.
func nextRepair(plan *shipper.Plan) string {
	plan.Stage = stageRepair + strconv.Itoa(repairs(*plan)+1)
	return plan.Stage
}

// repairs is how many repair stages the plan has gone through.
func repairs(plan shipper.Plan) int {
	n, err := strconv.Atoi(strings.TrimPrefix(plan.Stage, stageRepair))
	if err != nil {
		return 0
	}
	return n
}

// unseen is for rows that the server took and does not show. Rows about as
// old as the table's TTL are its to take; any others are for an operator.
func (d *delivery) unseen(ctx context.Context, b *block, missing []int) error {
	t := d.server.table
	now, err := d.server.now(ctx)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(missing, func(row int) bool { return t.mayHaveExpired(b.received[row], now) })
	if len(left) == 0 {
		d.sink.opts.Logger.Warn("rows acknowledged but not shown: older than the table's TTL", "rows", len(missing), "first", b.first, "last", b.last)
		return d.advance(b)
	}
	return &shipper.PauseError{Reason: fmt.Sprintf(
		"%s acknowledged %d rows of seqs %d to %d %d times and does not show them: look for a row policy, a TTL, or an engine or sort key that merges different events, then resume",
		d.server.addr, len(left), b.seqs[left[0]], b.seqs[left[len(left)-1]], maxUnseen)}
}

// mayHaveExpired tells whether the table's TTL may have taken a row by now, as
// the server's clock has it.
func (t table) mayHaveExpired(received int64, now time.Time) bool {
	keeps := t.keeps()
	return keeps > 0 && now.Sub(time.UnixMilli(received)) > keeps
}

// keeps is how long a row stays in the table for certain, 0 if for ever: a day
// less than the TTL, or half of a short one, since the server counts differently
// at the edges. A TTL that cannot be read may be as short as two days.
func (t table) keeps() time.Duration {
	const day = 24 * time.Hour
	switch {
	case !strings.Contains(t.full, "TTL "):
		return 0
	case t.ttl == 0:
		return day
	}
	return t.ttl - min(day, t.ttl/2)
}
