package shipper

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrBusy is returned to the second of two operators who command the same
// cursor at once.
var ErrBusy = errors.New("another command on this cursor is under way: look at its outcome first, then try again")

// ErrRefused marks commands that make no sense as things stand; the text says
// why. Nothing was changed.
var ErrRefused = errors.New("refused")

func (c *Cursor) refuse(format string, args ...any) error {
	return fmt.Errorf("cursor %s: %w: %s", c.name, ErrRefused, fmt.Sprintf(format, args...))
}

// Moved tells what a command did to a cursor's position.
type Moved struct {
	Cursor string `json:"cursor"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Epoch  uint64 `json:"epoch"`
}

// place is a position as the audit trail shows it.
type place struct {
	Next  uint64 `json:"next_seq"`
	Epoch uint64 `json:"epoch"`
	Pause *Pause `json:"pause,omitempty"`
}

func placeOf(p position) place { return place{p.Next, p.Epoch, p.Pause} }

// Pause stops the cursor, once requests in flight have ended, for d; zero is
// until it is resumed. It survives restarts. Pausing a paused cursor replaces
// the reason and the end; the same pause without an end again changes nothing.
func (c *Cursor) Pause(ctx context.Context, cmd Command, d time.Duration) error {
	if d < 0 {
		return c.refuse("a pause cannot last %s", d)
	}
	return c.still(ctx, func() error {
		p := &Pause{Reason: cmd.Why, By: cmd.By, Since: time.Now().UTC()}
		if d > 0 {
			p.Until = p.Since.Add(d)
		}
		if had := c.position().Pause; had != nil && d == 0 && had.Until.IsZero() && had.Reason == p.Reason && had.By == p.By {
			return nil
		}
		return c.audited("pause", cmd, func(pos *position) { pos.Pause = p })
	})
}

// Resume lets the cursor go on, whether an operator or the cursor itself
// paused it. Resuming a running cursor changes nothing.
func (c *Cursor) Resume(ctx context.Context, cmd Command) error {
	if !c.paused() {
		return nil
	}
	return c.still(ctx, func() error {
		if !c.paused() {
			return nil
		}
		err := c.audited("resume", cmd, func(pos *position) { pos.Pause = nil })
		if err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stalled = nil
		return nil
	})
}

// paused tells whether the cursor stands still until someone acts.
func (c *Cursor) paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pos.Pause != nil || c.stalled != nil
}

// Rewind moves the cursor back to seq to, in a new epoch, so that everything
// from there on is delivered again. Requests in flight have ended before it
// moves; the new position is durable when it returns. What the log no longer
// keeps cannot be rewound to. A cursor that stands there already in a rewind
// to the same place is left alone.
func (c *Cursor) Rewind(ctx context.Context, cmd Command, to uint64) (Moved, error) {
	var m Moved
	err := c.still(ctx, func() error {
		from := c.position()
		if from.cameTo(to) {
			m = Moved{Cursor: c.name, From: to, To: to, Epoch: from.Epoch}
			return nil
		}
		if oldest := c.log.FirstSeq(); to < oldest {
			return c.refuse("seq %d is no longer kept; the oldest that can be rewound to is %d", to, oldest)
		}
		if to >= from.Next {
			return c.refuse("seq %d is not behind its position %d; to go forward, skip", to, from.Next)
		}
		return c.move("rewind", cmd, &m, func(p *position) {
			p.RepeatsTo = max(p.RepeatsTo, from.Next-1)
			p.Skipped = rangesBelow(p.Skipped, to)
			p.Next = to
		})
	})
	return m, err
}

// SkipTo moves the cursor forward over events that will not be delivered, and
// counts them as skipped. A later rewind brings them back. A cursor that stands
// there already by a skip to the same place is left alone.
func (c *Cursor) SkipTo(ctx context.Context, cmd Command, to uint64) (Moved, error) {
	var m Moved
	err := c.still(ctx, func() error {
		from := c.position()
		if from.cameTo(to) {
			m = Moved{Cursor: c.name, From: to, To: to, Epoch: from.Epoch}
			return nil
		}
		if to <= from.Next {
			return c.refuse("seq %d is not ahead of its position %d; to go back, rewind", to, from.Next)
		}
		if end := c.log.DurableSeq() + 1; to > end {
			return c.refuse("seq %d is past the end of the log; the furthest is %d", to, end)
		}
		return c.move("skip", cmd, &m, func(p *position) {
			p.Skipped = addRange(p.Skipped, Range{from.Next, to - 1})
			p.Next = to
			if p.RepeatsTo < to {
				p.RepeatsTo = 0
			}
		})
	})
	return m, err
}

// Undo takes the cursor back to where it stood before its last rewind or
// skip, or to where it has come since, whichever is further for a rewind. It
// takes an epoch of its own, and can be done once.
func (c *Cursor) Undo(ctx context.Context, cmd Command) (Moved, error) {
	var m Moved
	err := c.still(ctx, func() error {
		from := c.position()
		u := from.Undo
		if u == nil {
			return c.refuse("there is no rewind or skip to undo")
		}
		if oldest := c.log.FirstSeq(); u.Next < oldest {
			return c.refuse("seq %d, where it stood, is no longer kept", u.Next)
		}
		return c.move("undo", cmd, &m, func(p *position) { p.undo(u) })
	})
	return m, err
}

// Undoing is what Undo would do if it were called now. It changes nothing.
func (c *Cursor) Undoing() (Moved, error) {
	p := c.position()
	u, at := p.Undo, p.Next
	if u == nil {
		return Moved{}, c.refuse("there is no rewind or skip to undo")
	}
	p.undo(u)
	return Moved{Cursor: c.name, From: at, To: p.Next, Epoch: p.Epoch}, nil
}

// position is a copy of where the cursor stands.
func (c *Cursor) position() position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pos
}

// audited saves a change of the position that is no move. A cursor that paused
// itself is shown as paused.
func (c *Cursor) audited(verb string, cmd Command, change func(*position)) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	before := c.position()
	after := before
	change(&after)
	shown := placeOf(before)
	if shown.Pause == nil {
		shown.Pause = c.ownPause()
	}
	return c.set.trail.commit(TrailEntry{By: cmd.By, Why: cmd.Why, Verb: verb, Cursor: c.name},
		shown, placeOf(after), func(entry ...Write) error {
			return c.saveLocked(change, entry...)
		})
}

// Retry tries at once: it ends a rest between two tries, and a pause that the
// cursor took itself. A cursor that needs none goes on undisturbed; one that an
// operator paused is refused, since a resume is meant for that.
func (c *Cursor) Retry(ctx context.Context, cmd Command) error {
	if p := c.position().Pause; p != nil {
		return c.refuse("it is paused by %s: %s; forebay cursor resume %s lets it go on", p.By, p.Reason, c.name)
	}
	if s := c.Status(); s.State == Running && s.Parked == nil {
		return nil
	}
	return c.still(ctx, func() error {
		if err := c.audited("retry", cmd, func(*position) {}); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stalled = nil
		return nil
	})
}

// ownName is who pauses a cursor that pauses itself.
const ownName = "forebay"

// ownPause is the pause that the cursor took itself, nil if there is none.
func (c *Cursor) ownPause() *Pause {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ownPauseLocked()
}

// ownPauseLocked is ownPause for a caller that holds c.mu.
func (c *Cursor) ownPauseLocked() *Pause {
	if c.stalled == nil {
		return nil
	}
	return &Pause{Reason: c.stalled.Reason, By: ownName, Since: c.stalledAt, Asks: c.stalled.Probe != nil}
}

// move applies change to the position under a new epoch, remembers where it
// stood, and forgets the plan: it belongs to the epoch before. What the plan
// may have delivered is a repeat if it comes again.
func (c *Cursor) move(verb string, cmd Command, m *Moved, change func(*position)) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	before := c.position()
	open := uint64(0)
	if plan := c.plan(false); plan != nil {
		open = plan.Last
		before.RepeatsTo = max(before.RepeatsTo, open)
	}
	after := before
	after.Undo = &rewound{
		Next: before.Next, RepeatsTo: before.RepeatsTo, Skipped: before.Skipped,
		Skip: verb == "skip", At: time.Now().UTC(),
	}
	change(&after)
	if open >= after.Next {
		after.RepeatsTo = max(after.RepeatsTo, open)
	}
	if after.Undo != nil {
		after.Undo.To = after.Next
	}
	// What is passed over or comes again, the account tells; what it does not
	// explain stays unexplained.
	after.Shipped += c.account.shipped(&after) - c.account.shipped(&before)
	err := c.set.nextEpoch(func(epoch uint64, counter Write) error {
		after.Epoch = epoch
		w, err := after.write(c.name)
		if err != nil {
			return err
		}
		return c.set.trail.commit(TrailEntry{By: cmd.By, Why: cmd.Why, Verb: verb, Cursor: c.name},
			placeOf(before), placeOf(after), func(entry ...Write) error {
				return c.commit(append(entry, counter, w, Write{Key: planKey(c.name)}))
			})
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pos, c.current, c.stalled, c.landfill = after, nil, nil, landfill{}
	*m = Moved{Cursor: c.name, From: before.Next, To: after.Next, Epoch: after.Epoch}
	c.logger.Info("cursor moved", "verb", verb, "from", m.From, "to", m.To, "epoch", m.Epoch, "by", cmd.By, "why", cmd.Why)
	return nil
}

// endPause removes exactly the pause given; a newer one stays.
func (c *Cursor) endPause(pause *Pause) error {
	return c.save(func(p *position) {
		if p.Pause == pause {
			p.Pause = nil
		}
	})
}
