package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"forebay/shipper"
)

// The stages of a plan. Whatever the stage, a plan found at a start is
// settled by reading; it only decides which tokens are used up.
const (
	stageSent   = "sent"    // the whole block, under the plan's token
	stageRepair = "repair-" // and a number: rows that were missing, under …:repair-number
)

// The pace after too many parts: a pause before each insert, doubled at each
// refusal and halved at each success.
const (
	slowest = 30 * time.Second
	slower  = time.Second
)

// delivery is the state of one call of Ship.
type delivery struct {
	sink    *Sink
	feed    *shipper.Feed
	next    uint64 // first seq that is not done
	server  *server
	backoff shipper.Backoff
	pace    time.Duration
	buried  []uint64 // seqs, of the plan under way

	evidence evidence // of the plan under way
	broken   int      // inserts of it that came to no answer
}

// deliver brings a block into the table.
func (d *delivery) deliver(ctx context.Context, b *block) error {
	if len(b.unreadable) > 0 {
		if err := d.feed.Bury(b.unreadable); err != nil {
			return err
		}
	}
	if b.rows() == 0 {
		return d.advance(b)
	}
	if d.pace > 0 {
		if err := shipper.Sleep(ctx, d.pace); err != nil {
			return err
		}
	}
	plan := shipper.Plan{
		First: b.first, Last: b.last, Rows: b.rows(), Stage: stageSent,
		Token: b.token(d.feed.Cursor(), d.feed.Epoch()),
	}
	for {
		srv, err := d.reach(ctx, "")
		if err != nil {
			return err
		}
		if err := d.sink.compareClock(ctx, srv); err != nil {
			d.drop()
			if err := d.react(ctx, err); err != nil {
				return err
			}
			continue
		}
		if err := d.feed.Believed(b.first, b.last); err != nil {
			return err
		}
		plan.Addr = srv.addr
		if plan.Attempts++; plan.Attempts == 1 {
			plan.At = time.Now().UTC() // no insert of it was sent before
		}
		if err := d.feed.SavePlan(plan); err != nil {
			return err
		}
		rows, err := d.fitting(ctx, srv, plan, b, d.unburied(b))
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return d.advance(b)
		}
		pieces := d.begin(&plan, b, rows)
		if len(pieces) == 1 && len(rows) > 1 && d.mayProve(srv, b) {
			return d.prove(ctx, srv, plan, b, rows)
		}
		if len(pieces) > 1 {
			if err := d.feed.SavePlan(plan); err != nil {
				return err
			}
		}
		last, err := d.sendAll(ctx, plan, b, pieces)
		if err != nil {
			return err
		}
		switch {
		case last.err == nil && !last.partial:
			return d.advance(b)
		case last.sent, last.partial:
			return d.settle(ctx, plan, b, last)
		}
		// Nothing arrived anywhere: the plan may go to another address.
		if err := d.react(ctx, last.err); err != nil {
			return err
		}
	}
}

// unburied selects the rows of the block that are not among the dead letters.
func (d *delivery) unburied(b *block) []int {
	if len(d.buried) == 0 {
		return b.all()
	}
	return slices.DeleteFunc(b.all(), func(row int) bool {
		_, dead := slices.BinarySearch(d.buried, b.seqs[row])
		return dead
	})
}

// send makes one insert and counts it. A connection that failed is dropped;
// one over which the server answered is not, but the table is read again
// before the next insert.
func (d *delivery) send(ctx context.Context, srv *server, b *block, rows []int, token string) attempt {
	start := time.Now()
	compared := d.compared(srv, b, rows)
	sent, err := srv.insert(ctx, b, rows, token)
	d.sink.stats.change(func(s *Stats) {
		s.LastQueryID = token
		if err != nil {
			s.Failed++
			return
		}
		s.Inserts++
		s.Rows += uint64(len(rows))
	})
	log := d.sink.opts.Logger.With("query_id", token, "addr", srv.addr, "rows", len(rows), "took", time.Since(start))
	switch {
	case err == nil:
		log.Debug("inserted")
		d.broken = 0
		d.acknowledged(b, rows)
		if d.sink.inserts.passed(len(rows), d.feed.MaxRows()) {
			log.Info("inserts are as large as they may be again")
		}
	case ctx.Err() == nil:
		log.Warn("insert not acknowledged", "err", err)
	}
	last := attempt{rows: rows, token: token, sent: sent, err: err, shape: srv.shape(), compared: compared}
	var answered *serverError
	if errors.As(err, &answered) {
		srv.doubt()
	} else if err != nil {
		d.drop()
	}
	return last
}

// advance ends the plan: all rows of b are in the table or buried.
func (d *delivery) advance(b *block) error {
	var writes []shipper.Write
	if len(d.buried) > 0 && !d.feed.Fill() {
		writes = append(writes, shipper.Write{Key: buriedKey})
	}
	if err := d.feed.Advance(b.last+1, writes...); err != nil {
		return err
	}
	d.sink.stats.omit(b, d.unburied(b))
	d.next, d.buried, d.evidence, d.broken = b.last+1, nil, evidence{}, 0
	d.backoff.Reset()
	if d.pace /= 2; d.pace < slower/8 {
		d.pace = 0
	}
	d.feed.Report(nil)
	return nil
}

// await is the next block, nil at the end. While none comes, memory is let go,
// and the table is looked at as often as if there were.
func (d *delivery) await(ctx context.Context, blocks <-chan *block) *block {
	idle := time.NewTimer(spareAge)
	defer idle.Stop()
	for {
		select {
		case b := <-blocks:
			return b
		case <-idle.C:
		}
		if d.server != nil {
			d.server.spare = nil
		}
		// What fails here fails again with the next block, and is told then.
		_, _ = d.tryReach(ctx, "")
		idle.Reset(d.sink.opts.tableAge)
	}
}

// drop closes the connection; the next one learns the server anew.
func (d *delivery) drop() {
	if d.server != nil {
		d.server.close()
		d.server = nil
	}
}

// reach returns a connected server: of any address for a new plan, of the
// plan's own address for one that was sent there. It tries for ever, unless
// an operator has to act.
func (d *delivery) reach(ctx context.Context, addr string) (*server, error) {
	for {
		srv, err := d.tryReach(ctx, addr)
		if err == nil {
			return srv, nil
		}
		if err := d.react(ctx, err); err != nil {
			return nil, err
		}
	}
}

func (d *delivery) tryReach(ctx context.Context, addr string) (*server, error) {
	if d.server != nil && (addr == "" || addr == d.server.addr) {
		if d.sink.renew(ctx, d.server) == nil {
			return d.server, nil
		}
		d.drop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	addrs := d.sink.opts.Addrs
	bound := addr != "" && slices.Contains(addrs, addr)
	if bound { // its own address first
		addrs = append([]string{addr}, slices.DeleteFunc(slices.Clone(addrs), func(a string) bool { return a == addr })...)
	}
	var errs []error
	for _, a := range addrs {
		srv, err := d.sink.connect(ctx, a)
		if err == nil && bound && a != addr {
			if err = srv.takeOver(ctx, addr); err != nil {
				srv.close()
			}
		}
		if err == nil {
			d.drop()
			d.server = srv
			return srv, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
	}
	return nil, worst(errs)
}

// worst is the error to act on when every address failed: one that passes by
// itself if there is any, since then waiting may help.
func worst(errs []error) error {
	for _, err := range errs {
		if c, _ := classify(err); c != needsOperator {
			return err
		}
	}
	return errs[0]
}

// takeOver makes the server fit to settle a plan that was sent to another
// address: it must be a replica of the same table, and have caught up.
func (c *server) takeOver(ctx context.Context, from string) error {
	if !c.table.replicated() {
		return fmt.Errorf("a plan sent to %s waits for that address: the table is not replicated, so %s cannot tell what arrived there", from, c.addr)
	}
	return c.exec(ctx, "SYSTEM SYNC REPLICA "+c.table.name)
}

// react does what a failure asks for: it reports it and waits, or returns the
// *shipper.PauseError that ends Ship. A nil failure is none.
func (d *delivery) react(ctx context.Context, failure error) error {
	if failure == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c, advice := classify(failure)
	if d.sink.opts.CreateTable && isGone(failure) {
		c = tableChanged // the next connection creates it
	}
	switch c {
	case tableChanged:
		d.drop()
	case needsOperator:
		return &shipper.PauseError{Reason: advice, Probe: d.sink.probe, Err: failure}
	case tooManyParts:
		d.pace = min(max(2*d.pace, slower), slowest)
		d.feed.Report(failure)
		return d.feed.Rest(ctx, d.pace)
	}
	d.feed.Report(failure)
	return d.feed.Rest(ctx, d.backoff.Next())
}

// isGone tells whether the server misses the table or its database.
func isGone(err error) bool {
	var e *serverError
	return errors.As(err, &e) && (e.number == 60 || e.number == 81 || e.number == 218)
}

// probe tells whether an insert could work again: some address lets the user
// in, its table has all columns, and it takes an insert of no rows.
func (s *Sink) probe(ctx context.Context) error {
	var errs []error
	for _, addr := range s.opts.Addrs {
		srv, err := s.connect(ctx, addr)
		if err == nil {
			names := strings.Join(srv.table.filled(), ", ")
			err = srv.exec(ctx, srv.into+" SELECT "+names+" FROM "+srv.table.name+" WHERE 0")
			srv.close()
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
