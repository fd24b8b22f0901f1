package clickhouse

import (
	"context"
	"errors"
	"slices"
	"time"

	"forebay/shipper"
)

// evidence is what tells rows of this epoch's delivery from equal ones of an
// earlier epoch, which a rewind left in the table. Only for the latter, the
// repeats, is there anything in it.
type evidence struct {
	addr    string            // the server that was looked at
	started time.Time         // by when it had been started
	counts  map[uint64]uint64 // how often each repeat was there at the last look
	proven  map[uint64]bool   // repeats that this delivery has brought

	// A token that has arrived brings no more rows: repeats under it show only
	// in an acknowledgement. Where none comes, another token is used, once.
	renew, renewed bool
}

// repeat tells whether the seq may be in the table from an earlier epoch, so
// that being there proves nothing.
func (d *delivery) repeat(seq uint64) bool { return seq <= d.feed.RepeatsTo() }

// anyRepeat tells whether one of the rows, which ascend, is a repeat.
func (d *delivery) anyRepeat(b *block, rows []int) bool {
	return len(rows) > 0 && d.repeat(b.seqs[rows[0]])
}

// acknowledged notes that the server has taken the rows.
func (d *delivery) acknowledged(b *block, rows []int) {
	for _, row := range rows {
		if !d.repeat(b.seqs[row]) {
			return
		}
		if d.evidence.proven == nil {
			d.evidence.proven = map[uint64]bool{}
		}
		d.evidence.proven[b.seqs[row]] = true
	}
}

// compared tells whether the rows can be told from earlier ones after an
// insert that begins now: there was a look at each repeat before it.
func (d *delivery) compared(srv *server, b *block, rows []int) bool {
	return !d.anyRepeat(b, rows) || d.evidence.counts != nil && d.evidence.addr == srv.addr
}

// lacking is which of the rows are missing by what was read. A repeat counts as
// there if its insert was acknowledged, or if it is there more often than before
// the last insert: merging only makes it fewer. Buried rows are not missed.
func (d *delivery) lacking(srv *server, b *block, rows []int, have presence) []int {
	e := &d.evidence
	if e.addr != srv.addr {
		e.addr, e.counts = srv.addr, nil
	}
	looked := make(map[uint64]uint64)
	missing := slices.DeleteFunc(slices.Clone(rows), func(row int) bool {
		seq := b.seqs[row]
		n := have.counts[seq]
		if d.repeat(seq) {
			looked[seq] = n
			before, known := e.counts[seq]
			if known && n > before {
				d.acknowledged(b, []int{row})
			}
			if !e.proven[seq] {
				n = 0
			}
		}
		_, dead := slices.BinarySearch(d.buried, seq)
		return dead || n > 0
	})
	if e.counts == nil && len(looked) > 0 {
		e.counts = looked
	}
	for seq, n := range looked {
		e.counts[seq] = n
	}
	return missing
}

// read asks the server which of the rows are in the table, in pieces where it
// does not read so much at once.
func (d *delivery) read(ctx context.Context, srv *server, b *block, rows []int) (presence, error) {
	have := presence{counts: map[uint64]uint64{}}
	limit := &d.sink.reads
	for len(rows) > 0 {
		n := limit.most(len(rows))
		piece, err := srv.present(ctx, b.span(rows[:n]), "")
		if c, _ := classify(err); err != nil && c == tooLarge && n > 1 {
			now := limit.shrink(n, err)
			d.sink.opts.Logger.Warn("so many rows at once cannot be looked for: asking for fewer", "rows", n, "now", now, "err", err)
			continue
		}
		if err != nil {
			return presence{}, err
		}
		limit.passed(n, len(rows))
		for seq, times := range piece.counts {
			have.counts[seq] = times
		}
		rows = rows[n:]
	}
	return have, nil
}

// missing reads which of the rows are not in the table, as soon as the server
// works on none of the cursor's inserts any more.
func (d *delivery) missing(ctx context.Context, plan shipper.Plan, b *block, rows []int) ([]int, error) {
	for {
		srv, err := d.reach(ctx, plan.Addr)
		if err != nil {
			return nil, err
		}
		var have presence
		d.evidence.started, err = srv.idle(ctx, plan, b, d.feed.Cursor())
		if err == nil && d.anyRepeat(b, rows) {
			d.evidence.started, err = closer(ctx, d.evidence.started, plan.At, srv.startedBy)
		}
		if err == nil {
			have, err = d.read(ctx, srv, b, rows)
		}
		if err == nil {
			return d.lacking(srv, b, rows, have), nil
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

// startEvery is the pause between two looks at a server's age.
const startEvery = 20 * time.Millisecond

// closer bounds by when a server was started. It tells its age in whole seconds,
// so that the bound is up to a second late. If that leaves open whether the start
// was before at, it is asked until its age changes, and the bound is late by a
// pause and an answer only.
func closer(ctx context.Context, started, at time.Time, ask func(context.Context) (time.Time, error)) (time.Time, error) {
	last := started
	for !started.Before(at) && started.Add(-time.Second).Before(at) {
		if err := shipper.Sleep(ctx, startEvery); err != nil {
			return started, err
		}
		now, err := ask(ctx)
		switch {
		case err != nil:
			return started, err
		case now.Sub(started) > 2*time.Second: // started again
			return now, nil
		case now.Before(last): // its age has just changed
			if now.Before(started) {
				started = now
			}
			return started, nil
		}
		last = now
	}
	return started, nil
}
