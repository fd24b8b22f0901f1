package shipper

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Preview is what moving a cursor would mean.
type Preview struct {
	Cursor string `json:"cursor"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Verb   string `json:"verb"` // rewind or skip
	Survey        // of what is delivered again, or passed over

	Duplicates uint64 `json:"duplicates"` // events that the destination has had before
	Removed           // of what was asked for
	Oldest     uint64 `json:"oldest"` // the oldest seq that can be rewound to

	// Seconds is how long it takes to deliver a rewind's events and what else
	// waits now, at the capacity of Status; 0 if that is not known.
	Seconds    float64   `json:"seconds,omitempty"`
	Capacity   float64   `json:"capacity_per_second,omitempty"`
	CapacityAt time.Time `json:"capacity_at,omitzero"`
}

// Removed is what of a range that was asked for the log no longer keeps. Of one
// that was asked for by time only a bound is known.
type Removed struct {
	NotKept uint64    `json:"not_kept,omitempty"`         // seqs
	AtMost  bool      `json:"not_kept_at_most,omitempty"` // NotKept is that bound
	Since   time.Time `json:"not_kept_since,omitzero"`    // what was received from here, if a time was asked for,
	Until   time.Time `json:"not_kept_until,omitzero"`    // until here is not kept; zero: nothing is
}

// Preview reads the range between the cursor and seq to, and says what a
// rewind (to is behind) or a skip (to is ahead) would touch. It changes
// nothing. A seq that is no longer kept is taken as the oldest that is, and
// what is missing is told in NotKept.
func (c *Cursor) Preview(ctx context.Context, to uint64) (Preview, error) {
	return c.preview(ctx, c.position(), to)
}

// Touched is Preview of a move that was made: exactly what lies between where
// the cursor stood and where it went, however far it had come since somebody
// looked before.
func (c *Cursor) Touched(ctx context.Context, m Moved) (Preview, error) {
	at := c.position()
	at.Next = m.From
	if at.Undo != nil {
		at.Skipped = at.Undo.Skipped
	}
	return c.preview(ctx, at, m.To)
}

// preview is Preview of a cursor that stands at a certain place.
func (c *Cursor) preview(ctx context.Context, at position, to uint64) (Preview, error) {
	oldest, durable := c.log.FirstSeq(), c.log.DurableSeq()
	p := Preview{Cursor: c.name, From: at.Next, Verb: "rewind", Oldest: oldest, Survey: newSurvey()}
	first, last := to, at.Next-1
	switch {
	case to > durable+1:
		return p, c.refuse("seq %d is past the end of the log; the furthest is %d", to, durable+1)
	case to > at.Next:
		p.Verb = "skip"
		first, last = at.Next, to-1
	case to < oldest: // and the cursor itself may stand before the oldest
		first = min(oldest, at.Next)
		p.NotKept = first - max(to, 1)
		to = first
	}
	p.To = to
	if first > last {
		return p, nil
	}
	had := c.delivered(at)
	var err error
	if p.Survey, err = survey(ctx, c.log, first, last, func(e *Event) bool {
		if had(e.Seq) {
			p.Duplicates++
		}
		return true
	}); err != nil {
		return p, fmt.Errorf("preview of cursor %s: %w", c.name, err)
	}
	if p.Verb == "rewind" {
		c.mu.Lock()
		p.Capacity, p.CapacityAt = c.capacity.perSecond(), c.capacity.at
		p.Seconds = c.capacity.takes(p.Events+durable+1-at.Next, c.flush)
		c.mu.Unlock()
	}
	return p, nil
}

// delivered tells which seqs below a position the destination has had: all that
// were not skipped, and have or had no letter.
func (c *Cursor) delivered(at position) func(seq uint64) bool {
	c.mu.Lock()
	dead, discarded := slices.Clone(c.account.dead), slices.Clone(c.account.thrown)
	c.mu.Unlock()
	return func(seq uint64) bool {
		return seq < at.Next && !inRanges(at.Skipped, seq) && !dead.has(seq) && !discarded.has(seq)
	}
}
