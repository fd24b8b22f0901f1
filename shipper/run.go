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

// run ships until ctx ends. Requeued dead letters go first, in rounds of
// bounded time, so that what fails again does not hold up live events.
func (c *Cursor) run(ctx context.Context) {
	var backoff Backoff
	var filled time.Time // when the last round of requeued letters ended
	for {
		limit, err := c.await(ctx)
		if err != nil {
			return
		}
		before := c.Next()
		requeued, anew := c.requeued()
		if anew {
			filled = time.Time{}
		}
		switch {
		case requeued && time.Since(filled) >= fillEvery:
			err = c.fill(ctx)
			filled = time.Now()
		case requeued:
			err = c.tail(ctx, limit, time.Until(filled.Add(fillEvery)))
		default:
			filled = time.Time{}
			err = c.tail(ctx, limit, 0)
		}
		if c.Next() != before {
			backoff.Reset()
		}
		if ctx.Err() != nil {
			return
		}
		if !c.settle(err) && backoff.Wait(ctx) != nil {
			return
		}
	}
}

// settle takes note of how a call of Ship ended; false asks for a pause
// before the next.
func (c *Cursor) settle(err error) (again bool) {
	var pause *PauseError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return true // a step is done, a command came, or a round is over
	case errors.As(err, &pause):
		c.logger.Error("paused until an operator acts", "reason", pause.Reason, "err", pause.Err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stalled = pause
		c.endStep()
		return true
	default:
		c.report(err)
		c.logger.Warn("delivery stopped, starting again", "err", err)
		return false
	}
}

// tail delivers the log from the position on: limit batches, or all if
// negative; for at most d, or without end if 0.
func (c *Cursor) tail(ctx context.Context, limit int, d time.Duration) error {
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	err := c.ship(ctx, func(p position) *Feed { return newFeed(c, p, limit) })
	if limit > 0 && err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.endStep()
	}
	return err
}

// requeued tells whether dead letters wait to be delivered once more, and
// whether an operator has changed them since it was last asked. Those that
// come after it has looked end the call of Ship, see interrupt.
func (c *Cursor) requeued() (waiting, anew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	anew, c.again = c.again, false
	return c.dead.requeued > 0 && c.steps == 0, anew
}

// await returns when the sink may run, with the number of batches it may
// take; negative is no limit.
func (c *Cursor) await(ctx context.Context) (limit int, err error) {
	for {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		c.mu.Lock()
		pause, stalled, steps, holds := c.pos.Pause, c.stalled, c.steps, c.holds
		c.mu.Unlock()
		var after <-chan time.Time
		switch {
		case holds > 0:
		case steps > 0:
			return steps, nil
		case pause != nil && pause.Until.IsZero():
		case pause != nil:
			left := time.Until(pause.Until)
			if left <= 0 {
				if err := c.endPause(pause); err != nil {
					c.report(err)
					after = time.After(time.Second)
					break
				}
				continue
			}
			after = time.After(left)
		case stalled != nil && stalled.Probe == nil:
		case stalled != nil:
			after = time.After(probeEvery)
		default:
			return -1, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-c.wake:
		case <-after:
			if stalled != nil && pause == nil {
				c.probe(ctx, stalled)
			}
		}
	}
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

// ship runs the sink once. When it returns no request is in flight.
func (c *Cursor) ship(ctx context.Context, open func(position) *Feed) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	if c.holds > 0 || c.again { // a command came between await and here
		c.mu.Unlock()
		return context.Canceled
	}
	feed := open(c.pos)
	stopped := make(chan struct{})
	c.cancel, c.stopped = cancel, stopped
	c.mu.Unlock()

	defer func() {
		c.mu.Lock()
		c.cancel, c.stopped = nil, nil
		c.mu.Unlock()
		close(stopped)
		err = errors.Join(err, feed.close())
	}()
	return c.sink.Ship(ctx, feed)
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
	c.endStep()
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
	return change()
}

// endStep is called with c.mu held.
func (c *Cursor) endStep() {
	if c.stepped != nil {
		close(c.stepped)
	}
	c.steps, c.stepped = 0, nil
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
