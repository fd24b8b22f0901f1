package shipper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"forebay/wal"
)

// What can have become of an event at a cursor.
const (
	Shipped   = "shipped"   // its destination confirmed it
	Pending   = "pending"   // the cursor has not come to it
	Planned   = "planned"   // in a plan that was written down and is not confirmed: it may have arrived
	Dead      = "dead"      // a dead letter
	Discarded = "discarded" // a dead letter that an operator threw away
	Lost      = "lost"      // damaged in the log before it was delivered
	Expired   = "expired"   // removed by retention before the cursor came
	Skipped   = "skipped"   // passed over by an operator
)

// Fate is what became of one event at one cursor.
type Fate struct {
	Cursor string `json:"cursor"`
	State  string `json:"state"` // one of the constants above
	Epoch  uint64 `json:"epoch"` // the cursor's
	Next   uint64 `json:"next_seq"`

	Ahead  uint64    `json:"ahead,omitempty"`  // events that are to be delivered before it
	Before bool      `json:"before,omitempty"` // delivered before a rewind, and to be delivered again
	Plan   *Plan     `json:"plan,omitempty"`   // that it is in, with the attempts made
	Error  string    `json:"last_error,omitempty"`
	Paused *Pause    `json:"pause,omitempty"`
	Letter *LetterOf `json:"letter,omitempty"`
}

// LetterOf is what a dead letter says, without the event.
type LetterOf struct {
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	BuriedAt time.Time `json:"buried_at"`
	Requeued bool      `json:"requeued,omitempty"` // waits to be delivered once more
	Queued   bool      `json:"queued,omitempty"`   // refused by nobody: stands in line behind its session
}

// Fate tells what became of the event with the seq. What a sink has delivered
// beyond the cursor's position counts as pending. Of several things that it may
// be the first counts that applies in Account, but that a letter comes before
// pending here: after a rewind it says what is known of the event.
func (c *Cursor) Fate(seq uint64) (Fate, error) {
	letter, dead, err := c.letter(seq)
	if err != nil {
		return Fate{}, fmt.Errorf("look for a dead letter of cursor %s: %w", c.name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.pos
	f := Fate{Cursor: c.name, State: Shipped, Epoch: p.Epoch, Next: p.Next}
	switch {
	case dead:
		f.State = Dead
		f.Letter = &LetterOf{letter.Reason, letter.Attempts, letter.BuriedAt, letter.Requeued, letter.Queued}
	case seq >= p.Next:
		f.State, f.Before, f.Ahead, f.Paused = Pending, seq <= p.RepeatsTo, seq-p.Next, p.Pause
		if f.Paused == nil {
			f.Paused = c.ownPauseLocked()
		}
		if plan := c.current; plan != nil && plan.First <= seq && seq <= plan.Last {
			copied := *plan
			f.State, f.Plan = Planned, &copied
		}
		if c.failure.active {
			f.Error = c.failure.text
		}
	case c.account.thrown.has(seq):
		f.State = Discarded
	case inRanges(p.Skipped, seq):
		f.State = Skipped
	case inRanges(p.Lost, seq):
		f.State = Lost
	case inRanges(p.Expired, seq):
		f.State = Expired
	}
	return f, nil
}

// Lane returns a copy of what the sink keeps under a relative key, nil if there
// is nothing.
func (c *Cursor) Lane(key string) ([]byte, error) {
	value, err := c.state.Get(lanePrefix(c.name) + key)
	if err != nil {
		return nil, fmt.Errorf("read the state of cursor %s: %w", c.name, err)
	}
	return value, nil
}

// Block returns the block of the log that holds seq. It is nil, with the gap
// that names the reason, if the log does not hold the seq.
func Block(log Log, seq uint64) (*wal.Block, *wal.Gap, error) {
	r := log.NewReader(seq)
	b, err := r.Next(onlyReady())
	err = errors.Join(err, r.Close())
	if errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
		return nil, &wal.Gap{First: seq, Last: seq, Reason: wal.ReasonFloor}, nil // nothing is behind it
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the log at seq %d: %w", seq, err)
	}
	if b.FirstSeq <= seq {
		return b, nil, nil
	}
	for _, g := range b.Gaps {
		if g.First <= seq && seq <= g.Last {
			return nil, &g, nil
		}
	}
	return nil, &wal.Gap{First: seq, Last: seq, Reason: wal.ReasonRetention}, nil
}

// Epoch is the cursor's epoch.
func (c *Cursor) Epoch() uint64 { return c.position().Epoch }
