package shipper

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// refill is what a feed yields that heals a destination: events of the log
// that were delivered and are not there. They go through a sink of their own,
// beside the cursor's, and change nothing of the cursor: neither its position
// nor its plan, letters or account.
type refill struct {
	name   string      // in the cursor's place, so that tokens are fresh
	wanted []Range     // the events
	pace   duty        // between two batches
	note   func(error) // is told how it goes
	giveUp func(error) // ends the delivery
	events *pick
	ahead  []Event // read, and too many for the batch before

	mu      sync.Mutex
	plan    *Plan
	failing time.Time // since when
	refused []Refusal
}

// HealMark is in the name that Feed.Cursor has for a feed that heals what an
// audit missed.
const HealMark = "/audit-"

// duty spaces work, so that it takes a share of the time: after each piece it
// rests so many times as long as that took, a minute at most.
type duty struct {
	rests float64
	begun time.Time
}

func (p *duty) begin() { p.begun = time.Now() }

func (p *duty) rest(ctx context.Context) error {
	if p.begun.IsZero() {
		return ctx.Err()
	}
	took := time.Since(p.begun)
	p.begun = time.Time{}
	return Sleep(ctx, min(time.Duration(p.rests*float64(took)), time.Minute))
}

// heal delivers the events of the ranges that the log holds, once more, through
// the healer. It returns what the destination refused. Note is
// told of failures that are tried again, and of the next success; what fails for
// auditPatience ends it.
func (d AuditTarget) heal(ctx context.Context, c *Cursor, wanted []Range, note func(error)) ([]Refusal, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	fresh := make([]byte, 8)
	_, _ = rand.Read(fresh) // it does not fail
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	r := &refill{
		name: c.name + HealMark + hex.EncodeToString(fresh), wanted: wanted, pace: duty{rests: auditRests},
		note: note, giveUp: giveUp, events: newPick(c.log, wanted),
	}
	p := c.position()
	err := d.Healer.Ship(ctx, &Feed{cursor: c, flush: d.Flush, start: p.Next, epoch: p.Epoch, fill: true, left: -1, refill: r})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return r.refused, errors.Join(err, r.events.close())
}

// next is Feed.Next of a refill.
func (r *refill) next(ctx context.Context, flush Flush) (*Batch, error) {
	if err := r.pace.rest(ctx); err != nil {
		return nil, err
	}
	b := &Batch{}
	for len(b.Events) < flush.Rows {
		e, more, err := r.take(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		if !more {
			break
		}
		if len(b.Events) > 0 && b.Bytes+int64(len(e.Raw)) > flush.Bytes {
			r.ahead = append(r.ahead, e)
			break
		}
		b.Events = append(b.Events, e)
		b.Bytes += int64(len(e.Raw))
	}
	if len(b.Events) == 0 {
		return nil, io.EOF
	}
	b.First, b.Last = b.Events[0].Seq, b.Events[len(b.Events)-1].Seq
	r.pace.begin()
	return b, nil
}

// take is the following event that is wanted.
func (r *refill) take(ctx context.Context) (Event, bool, error) {
	if len(r.ahead) > 0 {
		e := r.ahead[0]
		r.ahead = nil
		return e, true, nil
	}
	return r.events.next(ctx)
}

// read is Feed.Read of a refill.
func (r *refill) read(ctx context.Context, log Log, first, last uint64) (*Batch, error) {
	b, err := readRange(ctx, log, first, last)
	if err != nil {
		return nil, err
	}
	b.Events = slices.DeleteFunc(b.Events, func(e Event) bool { return !inRanges(r.wanted, e.Seq) })
	return b, nil
}

// currentPlan and savePlan are Feed.Plan and Feed.SavePlan of a refill. The plan is not
// durable: after a crash the destination is asked anew what it lacks.
func (r *refill) currentPlan() *Plan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plan
}

func (r *refill) savePlan(p Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan = &p
}

func (r *refill) advance() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan = nil
}

// report is Feed.Report of a refill.
func (r *refill) report(err error) {
	r.note(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.failing = time.Time{}
	case r.failing.IsZero():
		r.failing = time.Now()
	case time.Since(r.failing) >= auditPatience:
		r.giveUp(fmt.Errorf("tried for %s: %w", auditPatience, err))
	}
}

// bury is Feed.Bury of a refill. What is refused now was taken before, so it
// is no dead letter: it is named, and stays missing.
func (r *refill) bury(letters []DeadLetter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range letters {
		r.refused = append(r.refused, Refusal{d.Seq, d.Reason})
	}
}
