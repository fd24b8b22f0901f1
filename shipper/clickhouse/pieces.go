package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"forebay/shipper"
)

// maxBroken is how often an insert may come to no answer, although the reads
// between do, until its size is taken for the cause.
const maxBroken = 3

// most is how many of n rows may go in one insert: as the last refusals for
// their size left it, and as the configuration says now. A plan may be from
// before either.
func (d *delivery) most(n int) int {
	return d.sink.inserts.most(min(n, d.feed.MaxRows()))
}

// piece is what one insert carries.
type piece struct {
	rows  []int
	token string
}

// cut makes pieces of the rows where the block, counted from its first row, is
// cut at every size: what is cut again after a crash is the same pieces, as far
// as their rows are missing, with the same tokens.
func cut(b *block, rows []int, size int, base string) []piece {
	var pieces []piece
	for from := 0; from < len(rows); {
		to := from
		for to < len(rows) && rows[to]/size == rows[from]/size {
			to++
		}
		pieces = append(pieces, piece{rows[from:to], pieceToken(base, b, rows[from:to])})
		from = to
	}
	return pieces
}

// pieceToken is the token of a piece under a stage's, which has no other with
// these seqs.
func pieceToken(base string, b *block, rows []int) string {
	return fmt.Sprintf("%s:%d-%d", base, b.seqs[rows[0]], b.seqs[rows[len(rows)-1]])
}

// begin makes the pieces of a plan of which nothing was sent.
func (d *delivery) begin(plan *shipper.Plan, b *block, rows []int) []piece {
	plan.Piece = 0
	if size := d.most(len(rows)); size < len(rows) {
		plan.Piece = size
		return cut(b, rows, size, plan.Token+":"+nextRepair(plan))
	}
	return []piece{{rows, plan.Token}}
}

// again chooses how the missing rows go out, and moves the plan's stage. What
// had no answer may still arrive: it is repeated as it was, same rows and same
// token, so that a late arrival of the first try and the second count once. What
// was answered cannot, and may go in smaller pieces. What was acknowledged and
// yet is not there needs a token that was never used; so does a repeat if the
// server has been killed since: it may know the token and have lost the rows,
// which those of an earlier epoch would hide; or if no acknowledgement comes.
func (d *delivery) again(plan *shipper.Plan, b *block, last attempt, missing []int) []piece {
	fresh := d.anyRepeat(b, missing) && (d.evidence.renew || !d.evidence.started.Before(plan.At))
	d.evidence.renewed, d.evidence.renew = d.evidence.renewed || d.evidence.renew, false
	found := last.rows == nil && !fresh // at a start, or by prove
	switch {
	case found && plan.Stage == stageSent && len(missing) == b.rows()-len(d.buried):
		return []piece{{missing, last.token}}
	case found && plan.Piece > 0:
		return cut(b, missing, plan.Piece, plan.Token+":"+plan.Stage)
	case !fresh && last.err != nil && last.rows != nil && within(last.rows, missing) && !d.smaller(last):
		pieces := []piece{{last.rows, last.token}}
		rest := slices.DeleteFunc(slices.Clone(missing), func(row int) bool { return within([]int{row}, last.rows) })
		if len(rest) > 0 && plan.Piece > 0 {
			pieces = append(pieces, cut(b, rest, plan.Piece, plan.Token+":"+plan.Stage)...)
		}
		return pieces // rows that are left are read again
	}
	base := plan.Token + ":" + nextRepair(plan)
	plan.Piece = 0
	if size := d.most(len(missing)); size < len(missing) {
		plan.Piece = size
		return cut(b, missing, size, base)
	}
	return []piece{{missing, base}}
}

// smaller tells whether what failed is to go in smaller pieces: the limit asks
// for it, or the configuration does and there was an answer.
func (d *delivery) smaller(last attempt) bool {
	n := len(last.rows)
	return d.sink.inserts.most(n) < n || !last.broken() && d.most(n) < n
}

// sendAll makes the inserts. The first that is not acknowledged ends it, and is
// what it returns; so does the first after which larger ones are allowed.
func (d *delivery) sendAll(ctx context.Context, plan shipper.Plan, b *block, pieces []piece) (attempt, error) {
	var done []int
	left := len(pieces)
	for i, p := range pieces {
		srv, err := d.reach(ctx, plan.Addr)
		if err != nil {
			return attempt{}, err
		}
		last := d.send(ctx, srv, b, p.rows, p.token)
		if last.err != nil {
			last.partial = i > 0
			return last, nil
		}
		done = append(done, p.rows...)
		left--
		if plan.Piece > 0 && left > 0 && d.most(b.rows()) >= 2*plan.Piece {
			break
		}
	}
	return attempt{rows: done, sent: true, compared: true, partial: left > 0}, nil
}

// reactToInsert is react for an insert. One that was refused for its size is
// tried again at once, by halves, unless it is a single row already.
func (d *delivery) reactToInsert(ctx context.Context, b *block, last attempt) error {
	c, _ := classify(last.err)
	if c != tooLarge && last.broken() {
		if d.broken++; d.broken >= maxBroken {
			d.broken = 0
			if d.evidence.renew = d.anyRepeat(b, last.rows) && !d.evidence.renewed; !d.evidence.renew && len(last.rows) > 1 {
				c = tooLarge
			}
		}
	}
	if c != tooLarge || len(last.rows) < 2 || ctx.Err() != nil {
		return d.react(ctx, last.err)
	}
	now := d.sink.inserts.shrink(len(last.rows), last.err)
	d.sink.opts.Logger.Warn("so many rows at once are not taken: sending fewer", "rows", len(last.rows), "now", now, "err", last.err)
	d.feed.Report(last.err)
	return nil
}

// broken tells whether the insert came to no answer of ClickHouse, which may be
// for its size: a proxy breaks off, or its time is over.
func (a attempt) broken() bool {
	var e *serverError
	if a.err == nil || !a.sent {
		return false
	}
	return !errors.As(a.err, &e) || e.number == 209 || e.number == 210 // SOCKET_TIMEOUT, NETWORK_ERROR
}

// alone tells whether a single row is what a proxy finds too large.
func (a attempt) alone() bool {
	var e *statusError
	return len(a.rows) == 1 && errors.As(a.err, &e) && e.status == http.StatusRequestEntityTooLarge
}
