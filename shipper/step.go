package shipper

import (
	"context"
	"errors"
	"fmt"
)

// step is leave to deliver one batch although the cursor is paused.
type step struct {
	entry TrailEntry // durable with each advance
	from  position
	done  chan struct{}
	moved Moved // both are set before done is closed
	err   error
}

// Step lets a paused cursor deliver one batch, and returns when that is done.
// Its entry in the audit trail is durable together with the position. If a
// failure or another command ends the delivery half-way, what has been
// delivered by then is the step; a step that failed with nothing delivered is
// tried again. If ctx ends first the step is still under way, and the cursor
// pauses after it.
func (c *Cursor) Step(ctx context.Context, cmd Command) (Moved, error) {
	if !c.operate.TryLock() {
		return Moved{}, fmt.Errorf("cursor %s: %w", c.name, ErrBusy)
	}
	defer c.operate.Unlock()
	s, err := c.beginStep(cmd)
	if err != nil {
		return Moved{}, err
	}
	c.nudge()
	select {
	case <-s.done:
		return s.moved, s.err
	case <-ctx.Done():
		return Moved{}, fmt.Errorf("cursor %s: the step is still under way: %w", c.name, ctx.Err())
	}
}

func (c *Cursor) beginStep(cmd Command) (*step, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.runs:
		return nil, c.refuse("nothing is delivered while the node is stopped: start it, then step")
	case c.pos.Pause == nil:
		return nil, c.refuse("only a paused cursor can step: pause it first")
	case c.step != nil:
		return nil, c.refuse("a step is still under way")
	case c.pos.Next > c.log.DurableSeq():
		return nil, c.refuse("there is nothing left to deliver")
	}
	c.stalled = nil
	c.step = &step{
		entry: TrailEntry{By: cmd.By, Why: cmd.Why, Verb: "step", Cursor: c.name},
		from:  c.pos, done: make(chan struct{}),
	}
	return c.step, nil
}

// settleStep ends the step after a call of Ship, unless it has delivered
// nothing and is to be tried again.
func (c *Cursor) settleStep(err error) {
	var pause *PauseError
	stalled := errors.As(err, &pause)
	c.mu.Lock()
	moved := c.step != nil && c.pos.Next != c.step.from.Next
	c.mu.Unlock()
	switch {
	case stalled:
		c.endStep(fmt.Errorf("cursor %s: %w", c.name, pause))
	case err == nil || moved:
		c.endStep(nil)
	}
}

// endStep ends the step under way, if there is one, with the error given.
func (c *Cursor) endStep(err error) {
	c.mu.Lock()
	s, to := c.step, c.pos
	c.step = nil
	c.mu.Unlock()
	if s == nil {
		return
	}
	s.moved = Moved{Cursor: c.name, From: s.from.Next, To: to.Next, Epoch: to.Epoch}
	s.err = err
	close(s.done)
}
