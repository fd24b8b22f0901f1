package clickhouse

import (
	"context"
	"errors"
	"io"
	"slices"

	"forebay/shipper"
)

// Sink fills one table. It is a shipper.Sink.
type Sink struct {
	opts    Options
	stats   counters
	inserts sizeLimit // rows of one insert
	reads   sizeLimit // rows that are looked for at once
}

// New checks the options; no server is asked before Ship.
func New(o Options) (*Sink, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Sink{opts: o}, nil
}

// Ship inserts what the feed yields, as shipper.Sink says. While a batch is
// being sent, the next one is read and turned into columns; so at most two
// are in memory.
func (s *Sink) Ship(ctx context.Context, feed *shipper.Feed) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := &delivery{sink: s, feed: feed, next: feed.Start()}
	if feed.Fill() {
		d.next = 0 // requeued letters lie behind the position
	}
	defer d.drop()
	if plan := feed.Plan(); plan != nil && plan.Last >= d.next {
		if err := d.resume(ctx, *plan); err != nil {
			return ended(ctx, err)
		}
	}

	blocks := make(chan *block)
	var read error
	go func() {
		defer close(blocks)
		read = s.read(ctx, feed, d.next, blocks)
	}()
	for b := d.await(ctx, blocks); b != nil; b = d.await(ctx, blocks) {
		if err := d.deliver(ctx, b); err != nil {
			failed := ended(ctx, err)
			cancel()
			for range blocks { // until the reader has ended too
			}
			return failed
		}
	}
	if errors.Is(read, io.EOF) {
		return nil
	}
	return ended(ctx, read)
}

// ended prefers ctx's own error over what its end made of a request.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// read prepares the feed's batches from seq next on, until the feed ends.
func (s *Sink) read(ctx context.Context, feed *shipper.Feed, next uint64, blocks chan<- *block) error {
	var b *block
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if batch.Last < next {
			continue // the plan settled at the start reached this far
		}
		if batch.First < next {
			batch.First = next
			for len(batch.Events) > 0 && batch.Events[0].Seq < next {
				batch.Events = batch.Events[1:]
			}
		}
		for _, piece := range split(batch) {
			b = prepare(piece, s.opts.NodeID, b)
			select {
			case blocks <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		feed.Reuse(batch)
	}
}

// Stats returns the counters as they are now. Tokens is "yes" once the server
// was seen to drop a repeated insert, "expected" before that, else "no" with
// the reason.
func (s *Sink) Stats() Stats {
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	stats := s.stats.stats
	stats.Unstored = slices.Clone(stats.Unstored)
	stats.InsertRows, stats.InsertRowsWhy = s.inserts.look()
	stats.ReadRows, _ = s.reads.look()
	return stats
}

// Status is Stats, for the cursor's status.
func (s *Sink) Status() any { return s.Stats() }
