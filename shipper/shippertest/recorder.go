package shippertest

import (
	"context"
	"errors"
	"io"
	"sync"

	"forebay/shipper"
)

// Recorder is a sink that keeps what it is given, in the order of delivery.
type Recorder struct {
	// Before, if set, is asked before each batch is taken; an error fails the
	// call of Ship with it, a *shipper.PauseError included.
	Before func(*shipper.Feed, *shipper.Batch) error
	// Refuse, if set, says which events are buried, and why.
	Refuse func(shipper.Event) (reason string, refused bool)

	mu        sync.Mutex
	delivered []Delivered
	running   int
}

// Delivered is one event as it reached the recorder.
type Delivered struct {
	Seq   uint64
	Epoch uint64
	Fill  bool
	Raw   string
}

// Ship implements shipper.Sink.
func (r *Recorder) Ship(ctx context.Context, feed *shipper.Feed) error {
	r.mu.Lock()
	r.running++
	overlap := r.running > 1
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.running--
	}()
	if overlap {
		return errors.New("BUG: Ship was called while another call was running")
	}
	for {
		b, err := feed.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.take(feed, b); err != nil {
			return err
		}
		if err := feed.Advance(b.Last + 1); err != nil {
			return err
		}
		feed.Report(nil)
	}
}

func (r *Recorder) take(feed *shipper.Feed, b *shipper.Batch) error {
	if r.Before != nil {
		if err := r.Before(feed, b); err != nil {
			return err
		}
	}
	if err := feed.SavePlan(shipper.Plan{First: b.First, Last: b.Last, Rows: len(b.Events)}); err != nil {
		return err
	}
	var dead []shipper.DeadLetter
	for _, e := range b.Events {
		if r.Refuse != nil {
			if reason, refused := r.Refuse(e); refused {
				dead = append(dead, shipper.NewDeadLetter(e, reason, 1))
				continue
			}
		}
		r.mu.Lock()
		r.delivered = append(r.delivered, Delivered{Seq: e.Seq, Epoch: feed.Epoch(), Fill: feed.Fill(), Raw: string(e.Raw)})
		r.mu.Unlock()
	}
	return feed.Bury(dead)
}

// Delivered returns what has come so far.
func (r *Recorder) Delivered() []Delivered {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Delivered(nil), r.delivered...)
}

// Reset forgets what has come.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delivered = nil
}
