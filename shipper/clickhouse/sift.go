package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"forebay/shipper"
)

// buried is which seqs were buried out of the plan under way. It is durable
// in the same step as the dead letters themselves.
type buried struct {
	Plan string   `json:"plan"` // its token
	Seqs []uint64 `json:"seqs"` // ascending
}

// buriedKey is where that is kept. A fill keeps none: a letter that it buried
// is no longer marked to be delivered, and is not read again; one that is
// read again was requeued again, and counts as any other.
const buriedKey = "buried"

// sift finds the rows that the server refuses, none of which are in the
// table, by halves, and buries them; their neighbours are inserted on the
// way. It returns the last insert, so that settle goes on from there.
func (d *delivery) sift(ctx context.Context, plan *shipper.Plan, b *block, refused attempt) (attempt, error) {
	if len(refused.rows) == 1 {
		last := attempt{rows: refused.rows, token: refused.token, shape: refused.shape, compared: true}
		return last, d.bury(ctx, *plan, b, []refusal{{refused.rows[0], refused.err.Error()}})
	}
	base := plan.Token + ":" + nextRepair(plan)
	plan.Attempts, plan.Piece = plan.Attempts+1, 0
	if err := d.feed.SavePlan(*plan); err != nil {
		return refused, err
	}
	return d.siftHalves(ctx, plan, b, base, refused)
}

func (d *delivery) siftHalves(ctx context.Context, plan *shipper.Plan, b *block, base string, refused attempt) (attempt, error) {
	var last attempt
	middle := len(refused.rows) / 2
	for _, half := range [][]int{refused.rows[:middle], refused.rows[middle:]} {
		srv, err := d.reach(ctx, plan.Addr)
		if err != nil {
			return last, err
		}
		last = d.send(ctx, srv, b, half, pieceToken(base, b, half))
		if last.err == nil {
			continue
		}
		if !last.refused() || !last.compared {
			return last, nil // the outcome is open: settle reads it
		}
		missing, err := d.missing(ctx, *plan, b, half)
		if err != nil {
			return last, err
		}
		if len(missing) < len(half) || d.server.shape() != last.shape {
			return last, nil
		}
		if len(half) == 1 {
			err = d.bury(ctx, *plan, b, []refusal{{half[0], last.err.Error()}})
			last.err = nil
		} else {
			last, err = d.siftHalves(ctx, plan, b, base, last)
		}
		if err != nil || last.err != nil {
			return last, err
		}
	}
	return last, nil
}

// refusal is a row that the table does not take.
type refusal struct {
	row int
	why string
}

// bury gives rows, ascending, to the dead letters; that they were is durable
// with them.
func (d *delivery) bury(ctx context.Context, plan shipper.Plan, b *block, refused []refusal) error {
	why := make(map[uint64]string, len(refused))
	seqs := slices.Clone(d.buried)
	for _, r := range refused {
		why[b.seqs[r.row]] = r.why
		seqs = append(seqs, b.seqs[r.row])
	}
	slices.Sort(seqs)
	batch, err := d.feed.Read(ctx, b.seqs[refused[0].row], b.seqs[refused[len(refused)-1].row])
	if err != nil {
		return err
	}
	var keep []shipper.Write
	if !d.feed.Fill() {
		value, err := json.Marshal(buried{plan.Token, seqs})
		if err != nil {
			return fmt.Errorf("encode buried seqs: %w", err)
		}
		keep = append(keep, shipper.Write{Key: buriedKey, Value: value})
	}
	var letters []shipper.DeadLetter
	for _, e := range batch.Events {
		if reason, is := why[e.Seq]; is {
			letters = append(letters, shipper.NewDeadLetter(e, reason, plan.Attempts))
		}
	}
	if err := d.feed.Bury(letters, keep...); err != nil {
		return err
	}
	d.buried = seqs
	d.sink.opts.Logger.Warn("events that the table does not take, kept as dead letters",
		"events", len(refused), "first", b.seqs[refused[0].row], "err", refused[0].why)
	return nil
}

func (d *delivery) loadBuried(plan shipper.Plan) error {
	if d.feed.Fill() {
		return nil
	}
	return d.feed.Load(buriedKey, func(_ string, value []byte) error {
		var saved buried
		if err := json.Unmarshal(value, &saved); err != nil {
			return fmt.Errorf("decode buried seqs: %w", err)
		}
		if saved.Plan == plan.Token {
			d.buried = saved.Seqs
		}
		return nil
	})
}
