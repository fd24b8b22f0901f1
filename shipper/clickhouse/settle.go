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
	rows  []int // nil: the plan was found at a start, what was sent last is not known
	token string
	sent  bool   // some of it may have left this process
	err   error  // nil: acknowledged
	shape string // of the table that it was made for
}

// refused tells whether the server named a row's content as the cause.
func (a attempt) refused() bool {
	c, _ := classify(a.err)
	return a.err != nil && c == badRow
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
		if last.refused() && len(missing) == len(last.rows) && d.server.shape() == last.shape {
			if last, err = d.sift(ctx, &plan, b, last); err != nil {
				return err
			}
			continue
		}
		if last.rows != nil && last.err == nil {
			if unseen++; unseen >= maxUnseen {
				return d.unseen(b, missing)
			}
		}
		if err := d.react(ctx, last.err); err != nil {
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
		token := d.nextToken(&plan, b, last, missing)
		plan.Addr = srv.addr
		plan.Attempts++
		if err := d.feed.SavePlan(plan); err != nil {
			return err
		}
		d.sink.stats.change(func(s *Stats) { s.Repaired += uint64(len(missing)) })
		last = d.send(ctx, srv, b, missing, token)
	}
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

// missing reads which of the rows are not in the table, as soon as the server
// works on none of the plan's inserts any more. Buried rows are not missed.
func (d *delivery) missing(ctx context.Context, plan shipper.Plan, b *block, rows []int) ([]int, error) {
	for {
		srv, err := d.reach(ctx, plan.Addr)
		if err != nil {
			return nil, err
		}
		var have presence
		if err = srv.idle(ctx, plan.Token); err == nil {
			have, err = srv.present(ctx, b.span(), "")
		}
		if err == nil {
			return slices.DeleteFunc(slices.Clone(rows), func(row int) bool {
				_, dead := slices.BinarySearch(d.buried, b.seqs[row])
				return dead || have.seqs[b.seqs[row]]
			}), nil
		}
		var answered *serverError
		if !errors.As(err, &answered) {
			d.drop()
		}
		if err := d.react(ctx, err); err != nil {
			return nil, err
		}
	}
}

// idle returns an error while the server still works on the token's inserts:
// reading then would miss rows that are about to appear. A user who may not
// look does without; the tokens then hold alone.
func (c *server) idle(ctx context.Context, token string) error {
	running, err := c.running(ctx, token)
	if err != nil {
		if c, _ := classify(err); c == needsOperator {
			return nil
		}
		return err
	}
	if running {
		return fmt.Errorf("%s: still works on insert %s", c.addr, token)
	}
	return nil
}

// nextToken chooses the token under which the missing rows go out. What was
// not acknowledged is repeated as it was, so that a late arrival of the first
// try and the second count once. What was acknowledged and yet is not there
// needs a token that was never used.
func (d *delivery) nextToken(plan *shipper.Plan, b *block, last attempt, missing []int) string {
	untouched := plan.Stage == stageSent && len(missing) == b.rows()-len(d.buried)
	if last.err != nil && slices.Equal(missing, last.rows) || last.rows == nil && untouched {
		return last.token
	}
	return plan.Token + ":" + nextRepair(plan)
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
func (d *delivery) unseen(b *block, missing []int) error {
	t := d.server.table
	left := slices.DeleteFunc(missing, func(row int) bool { return t.mayHaveExpired(b.received[row]) })
	if len(left) == 0 {
		d.sink.opts.Logger.Warn("rows acknowledged but not shown: older than the table's TTL", "rows", len(missing), "first", b.first, "last", b.last)
		return d.advance(b)
	}
	return &shipper.PauseError{Reason: fmt.Sprintf(
		"%s acknowledged %d rows of seqs %d to %d %d times and does not show them: look for a row policy, a TTL, or an engine or sort key that merges different events, then resume",
		d.server.addr, len(left), b.seqs[left[0]], b.seqs[left[len(left)-1]], maxUnseen)}
}

// mayHaveExpired tells whether the table's TTL may have taken a row.
func (t table) mayHaveExpired(received int64) bool {
	keeps := t.keeps()
	return keeps > 0 && time.Since(time.UnixMilli(received)) > keeps
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
