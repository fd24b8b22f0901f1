package shipper

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// probeEvery is how often a cursor that paused itself asks whether the cause
// has gone, and probeTimeout bounds one such question.
const (
	probeEvery   = 5 * time.Second
	probeTimeout = 10 * time.Second
)

// turn is leave to call Ship once, as things stood when it was given. A
// command that comes after it takes it back, see Cursor.orders.
type turn struct {
	step   bool // one batch of the log, then no more
	fill   bool // requeued letters wait
	anew   bool // an operator has changed the dead letters
	orders uint64
}

// run ships until ctx ends, or all of the cursor's part is done. Requeued dead letters go first, in rounds of
// bounded time, so that what fails again does not hold up live events.
func (c *Cursor) run(ctx context.Context) {
	defer c.leave()
	var backoff Backoff
	var filled time.Time    // when the last round of requeued letters ended
	var pause time.Duration // from then until the next
	for !c.part.over(c.Next()) {
		t, err := c.await(ctx)
		if err != nil {
			return
		}
		if t.anew || !t.fill {
			filled, pause = time.Time{}, 0
		}
		before := c.Next()
		var again bool
		if due := time.Until(filled.Add(pause)); !t.fill {
			again = c.tail(ctx, t, 0)
		} else if due > 0 {
			again = c.tail(ctx, t, due)
		} else {
			var over bool
			began := time.Now()
			if again, over = c.fill(ctx, t); over {
				filled = time.Now()
				pause = min(max(2*pause, 2*filled.Sub(began), fillSoon), fillEvery)
			}
		}
		if c.Next() != before {
			backoff.Reset()
		}
		if !again && c.rest(ctx, backoff.Next()) != nil {
			return
		}
	}
}

// enter and leave mark the time in which somebody calls run.
func (c *Cursor) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs = true
}

func (c *Cursor) leave() {
	c.mu.Lock()
	c.runs = false
	c.mu.Unlock()
	c.endStep(fmt.Errorf("cursor %s: the node was stopped before the step was done", c.name))
}

// rest waits before another try. A command ends the rest.
func (c *Cursor) rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	c.triesAt(time.Now().Add(d))
	defer c.triesAt(time.Time{})
	select {
	case <-t.C:
		return nil
	case <-c.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tail delivers the log from the position on: one batch in a step, else all;
// for at most d, or without end if 0.
func (c *Cursor) tail(ctx context.Context, t turn, d time.Duration) (again bool) {
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	limit := -1
	if t.step {
		limit = 1
	}
	return c.ship(ctx, t, func(p position) *Feed { return newFeed(c, p, limit) })
}

// await returns when the sink may run.
func (c *Cursor) await(ctx context.Context) (turn, error) {
	for {
		if ctx.Err() != nil {
			return turn{}, ctx.Err()
		}
		t, free, pause, stalled := c.look()
		if free {
			return t, nil
		}
		var after <-chan time.Time
		switch {
		case pause != nil && !pause.Until.IsZero():
			left := time.Until(pause.Until)
			if left <= 0 {
				err := c.endPause(pause)
				if err == nil {
					continue
				}
				c.report(err)
				left = time.Second
			}
			after = time.After(left)
		case pause == nil && stalled != nil && stalled.Probe != nil:
			after = time.After(probeEvery)
			c.triesAt(time.Now().Add(probeEvery))
		}
		select {
		case <-ctx.Done():
			return turn{}, ctx.Err()
		case <-c.wake:
			c.triesAt(time.Time{})
		case <-after:
			c.triesAt(time.Time{})
			if pause == nil {
				c.probe(ctx, stalled)
			}
		}
	}
}

// look says whether the sink may run, or what it waits for; neither a pause
// nor a stall means that a command is under way, which ends with a nudge.
func (c *Cursor) look() (t turn, free bool, pause *Pause, stalled *PauseError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holds > 0 {
		return t, false, nil, nil
	}
	step := c.step != nil
	if !step && (c.pos.Pause != nil || c.stalled != nil) {
		return t, false, c.pos.Pause, c.stalled
	}
	t = turn{step: step, fill: !step && c.dead.requeued > 0, anew: c.again, orders: c.orders}
	c.again = false
	return t, true, nil, nil
}

// probe asks whether what stalled the cursor has gone.
func (c *Cursor) probe(ctx context.Context, stalled *PauseError) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := stalled.Probe(ctx); err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled == stalled {
		c.stalled = nil
		c.logger.Info("cause has gone, delivering again", "was", stalled.Reason)
	}
}

// ship runs the sink once. When it returns no request is in flight, and what
// came of it is noted; false asks for a rest before the next call.
func (c *Cursor) ship(ctx context.Context, t turn, open func(position) *Feed) (again bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	if c.orders != t.orders { // a command came between await and here
		c.mu.Unlock()
		return true
	}
	feed := open(c.pos)
	stopped := make(chan struct{})
	c.cancel, c.stopped = cancel, stopped
	c.capacity.begin(time.Now(), c.log.DurableSeq())
	c.mu.Unlock()

	err := errors.Join(c.sink.Ship(ctx, feed), feed.close())
	if err == nil && ctx.Err() == nil && !feed.ends() {
		err = errors.New("BUG: Ship returned nil although its feed has no end")
	}
	// Before anyone hears that the sink stands still, so that a command finds
	// the cursor as this call has left it.
	again = c.settle(err, ctx.Err() != nil)
	if t.step {
		c.settleStep(err)
	}
	c.mu.Lock()
	c.cancel, c.stopped = nil, nil
	c.capacity.interrupt()
	c.mu.Unlock()
	close(stopped)
	return again
}

// settle takes note of how a call of Ship ended; interrupted says that it was
// told to.
func (c *Cursor) settle(err error, interrupted bool) (again bool) {
	var pause *PauseError
	switch {
	case err == nil:
		return true
	case errors.As(err, &pause):
		text := "paused until forebay cursor resume " + c.name
		if pause.Probe != nil {
			text = fmt.Sprintf("paused, asks every %s whether the cause has gone, and goes on by itself then", probeEvery)
		}
		c.logger.Error(text, "reason", pause.Reason, "err", pause.Err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stalled, c.stalledAt = pause, time.Now().UTC()
		return true
	case interrupted && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return true // the node stops, a command came, or a round is over
	default:
		c.report(err)
		c.logger.Warn("delivery stopped, starting again", "err", err)
		return interrupted
	}
}

// still runs change while the sink stands still, and lets it go on after. It
// refuses with ErrBusy when another command is under way.
func (c *Cursor) still(ctx context.Context, change func() error) error {
	if !c.operate.TryLock() {
		return fmt.Errorf("cursor %s: %w", c.name, ErrBusy)
	}
	defer c.operate.Unlock()
	c.mu.Lock()
	c.holds++
	c.orders++
	cancel, stopped := c.cancel, c.stopped
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.holds--
		c.mu.Unlock()
		c.nudge()
	}()
	if cancel != nil {
		cancel()
		select {
		case <-stopped:
		case <-ctx.Done():
			return fmt.Errorf("cursor %s: requests in flight have not ended: %w", c.name, ctx.Err())
		}
	}
	c.endStep(fmt.Errorf("cursor %s: another command ended the step", c.name))
	return change()
}

// interrupt ends the running call of Ship without waiting for it, so that the
// run loop looks anew at what there is to do.
func (c *Cursor) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = true
	c.orders++
	if c.cancel != nil {
		c.cancel()
	}
}

// Running tells whether the sink is at work at this moment.
func (c *Cursor) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cancel != nil
}

func (c *Cursor) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
