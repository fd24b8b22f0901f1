package clickhouse

import (
	"context"

	"forebay/shipper"
)

// What Stats.Tokens says.
const (
	tokensProven   = "yes"
	tokensExpected = "expected"
	tokensUnknown  = "no: the server does not know insert_deduplication_token; repeats are found by reading and merge away"
	tokensNoWindow = "no: the table remembers none; ALTER TABLE … MODIFY SETTING non_replicated_deduplication_window = 10000"
	tokensFailed   = "no: the server stored two inserts of one token; repeats are found by reading and merge away"
)

// expectTokens says what the server's settings and the table's let expect.
func (c *server) expectTokens() string {
	switch {
	case !c.tokens:
		return tokensUnknown
	case c.table.window == 0:
		return tokensNoWindow
	}
	return tokensExpected
}

// mayProve tells whether the block is to be used for prove: the table must
// not have its rows yet, as it may have after a rewind.
func (d *delivery) mayProve(srv *server, b *block) bool {
	return d.sink.stats.unproven(srv) && d.feed.RepeatsTo() < b.first && !d.feed.Fill()
}

// prove finds out whether tokens work on this server and table, with nothing
// but the rows, two at least, of a plan that is due anyway: all but the first go out under
// the plan's token, then the first under the same one. If tokens work the
// server drops it, and settling sends it as a repair; if not it is where it
// belongs. Either way each row is there once.
func (d *delivery) prove(ctx context.Context, srv *server, plan shipper.Plan, b *block, rows []int) error {
	for _, part := range [][]int{rows[1:], rows[:1]} {
		if last := d.send(ctx, srv, b, part, plan.Token); last.err != nil {
			if err := d.reactToInsert(ctx, b, last); err != nil {
				return err
			}
			return d.settle(ctx, plan, b, attempt{token: plan.Token})
		}
	}
	missing, err := d.missing(ctx, plan, b, rows)
	if err != nil {
		return err
	}
	result := tokensProven
	if len(missing) == 0 {
		result = tokensFailed
	}
	d.sink.stats.found(srv, result)
	return d.settle(ctx, plan, b, attempt{rows: rows[:1], token: plan.Token})
}
