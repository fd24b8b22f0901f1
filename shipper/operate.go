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

// Moved tells what a command that moves a cursor did.
type Moved struct {
	Cursor string `json:"cursor"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Epoch  uint64 `json:"epoch"`
}

// Rewind moves the cursor back to seq to, in a new epoch, so that everything
// from there on is delivered again. Requests in flight have ended before it
// moves; the new position is durable when it returns. What the log no longer
// keeps cannot be rewound to.
func (c *Cursor) Rewind(ctx context.Context, to uint64) (Moved, error) {
	var m Moved
	err := c.still(ctx, func() error {
		c.mu.Lock()
		from := c.pos
		c.mu.Unlock()
		if oldest := max(c.log.FirstSeq(), 1); to < oldest {
			return fmt.Errorf("cursor %s: seq %d is no longer kept; the oldest that can be rewound to is %d", c.name, to, oldest)
		}
		if to >= from.Next {
			return fmt.Errorf("cursor %s: seq %d is not behind its position %d", c.name, to, from.Next)
		}
		m = Moved{Cursor: c.name, From: from.Next, To: to}
		return c.move(func(p *position) {
			p.Undo = &rewound{Next: from.Next, Replay: from.Replay, Epoch: from.Epoch, At: time.Now().UTC()}
			p.Replay = max(from.Replay, from.Next-1)
			p.Next = to
			m.Epoch = p.Epoch
		})
	})
	return m, err
}

// move applies change to the position under a new epoch, and forgets the plan:
// it belongs to the epoch before.
func (c *Cursor) move(change func(*position)) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	p := c.pos
	c.mu.Unlock()
	err := c.set.nextEpoch(func(epoch uint64) ([]Write, error) {
		p.Epoch = epoch
		change(&p)
		w, err := p.write(c.name)
		return []Write{w, {Key: planKey(c.name)}}, err
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pos, c.current, c.stalled = p, nil, nil
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
