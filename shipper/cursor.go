package shipper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// probeEvery is how often a cursor that paused itself asks whether the cause
// has gone, and probeTimeout bounds one such question.
const (
	probeEvery   = 5 * time.Second
	probeTimeout = 10 * time.Second
)

// Cursor is one reader's place in the log, and the machine that runs its
// sink. All methods are safe for concurrent use.
type Cursor struct {
	name   string
	sink   Sink
	flush  Flush
	log    Log
	state  State
	set    *Cursors
	logger *slog.Logger
	wake   chan struct{} // a command changed something the run loop waits on

	operate sync.Mutex // one operator's command at a time
	saving  sync.Mutex // one commit of pos at a time, in order

	mu      sync.Mutex
	pos     position
	current *Plan
	stalled *PauseError        // the sink gave up until something changes
	holds   int                // commands that want the sink to stand still
	steps   int                // batches that may go out although paused
	cancel  context.CancelFunc // ends the running Ship
	stopped chan struct{}      // closed when it has ended
	failure failure
	rate    meter
	dead    deadCount
}

// Name is the cursor's name.
func (c *Cursor) Name() string { return c.name }

// Next is the first seq that is not yet accounted for.
func (c *Cursor) Next() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pos.Next
}

func (c *Cursor) load() error {
	saved, err := c.state.Get(cursorKey(c.name))
	if err != nil {
		return fmt.Errorf("load cursor %s: %w", c.name, err)
	}
	if saved == nil {
		p := position{Next: max(c.log.FirstSeq(), 1)}
		err := c.set.nextEpoch(func(epoch uint64) ([]Write, error) {
			p.Epoch = epoch
			w, err := p.write(c.name)
			return []Write{w}, err
		})
		if err != nil {
			return fmt.Errorf("create cursor %s: %w", c.name, err)
		}
		c.pos = p
	} else if c.pos, err = decodePosition(c.name, saved); err != nil {
		return err
	}
	plan, err := c.state.Get(planKey(c.name))
	if err != nil {
		return fmt.Errorf("load plan of cursor %s: %w", c.name, err)
	}
	if c.current, err = decodePlan(plan); err != nil {
		return fmt.Errorf("cursor %s: %w", c.name, err)
	}
	return c.countDead()
}

// run ships until ctx ends.
func (c *Cursor) run(ctx context.Context) {
	var backoff Backoff
	for {
		limit, err := c.await(ctx)
		if err != nil {
			return
		}
		before := c.Next()
		err = c.ship(ctx, limit)
		if c.Next() != before {
			backoff.Reset()
		}
		var pause *PauseError
		switch {
		case ctx.Err() != nil:
			return
		case err == nil || errors.Is(err, context.Canceled):
			// a step is done, or a command wants the sink to stand still
		case errors.As(err, &pause):
			c.logger.Error("paused until an operator acts", "reason", pause.Reason, "err", pause.Err)
			c.mu.Lock()
			c.stalled, c.steps = pause, 0
			c.mu.Unlock()
		default:
			c.report(err)
			c.logger.Warn("delivery stopped, starting again", "err", err)
			if backoff.Wait(ctx) != nil {
				return
			}
		}
	}
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
func (c *Cursor) ship(ctx context.Context, limit int) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	if c.holds > 0 { // a command came between await and here
		c.mu.Unlock()
		return nil
	}
	feed := newFeed(c, c.pos, limit)
	stopped := make(chan struct{})
	c.cancel, c.stopped = cancel, stopped
	c.mu.Unlock()

	defer func() {
		c.mu.Lock()
		c.cancel, c.stopped = nil, nil
		if limit > 0 && err == nil {
			c.steps = 0
		}
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

func (c *Cursor) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// save commits change applied to the position, together with writes, and
// publishes it once it is durable.
func (c *Cursor) save(change func(*position), writes ...Write) error {
	c.saving.Lock()
	defer c.saving.Unlock()
	return c.saveLocked(change, writes...)
}

// saveLocked is save for a caller that holds c.saving.
func (c *Cursor) saveLocked(change func(*position), writes ...Write) error {
	c.mu.Lock()
	p := c.pos
	c.mu.Unlock()
	change(&p)
	w, err := p.write(c.name)
	if err != nil {
		return err
	}
	if err := c.state.Commit(append([]Write{w}, writes...)...); err != nil {
		return fmt.Errorf("save cursor %s: %w", c.name, err)
	}
	c.mu.Lock()
	c.pos = p
	c.mu.Unlock()
	return nil
}

// advance is Feed.Advance.
func (c *Cursor) advance(next uint64, lost []Range, expired []Range, writes []Write) error {
	writes = c.lane(writes)
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	from, plan := c.pos.Next, c.current
	c.mu.Unlock()
	if next <= from {
		if len(writes) == 0 {
			return nil
		}
		return c.commit(writes)
	}
	if durable := c.log.DurableSeq(); next > durable+1 {
		return fmt.Errorf("BUG: cursor %s: advance to %d, past the durable end of the log at %d", c.name, next, durable)
	}
	done := plan != nil && plan.Last < next
	if done {
		writes = append(writes, Write{Key: planKey(c.name)})
	}
	err := c.saveLocked(func(p *position) {
		p.Next = next
		if p.Replay < next {
			p.Replay = 0
		}
		for _, r := range lost {
			p.Lost = addRange(p.Lost, r)
		}
		for _, r := range expired {
			p.Expired = addRange(p.Expired, r)
		}
	}, writes...)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if done {
		c.current = nil
	}
	c.rate.add(time.Now(), next-from)
	return nil
}

func (c *Cursor) plan() *Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return nil
	}
	p := *c.current
	return &p
}

func (c *Cursor) savePlan(p Plan) error {
	w, err := p.write(c.name)
	if err != nil {
		return err
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	if err := c.commit([]Write{w}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = &p
	return nil
}

func (c *Cursor) commit(writes []Write) error {
	if err := c.state.Commit(writes...); err != nil {
		return fmt.Errorf("save state of cursor %s: %w", c.name, err)
	}
	return nil
}

func lanePrefix(cursor string) string { return "lane/" + cursor + "/" }

// lane makes the sink's relative keys absolute.
func (c *Cursor) lane(writes []Write) []Write {
	out := make([]Write, len(writes), len(writes)+2)
	for i, w := range writes {
		out[i] = Write{Key: lanePrefix(c.name) + w.Key, Value: w.Value}
	}
	return out
}

func (c *Cursor) saveLane(writes []Write) error {
	if len(writes) == 0 {
		return nil
	}
	return c.commit(c.lane(writes))
}

func (c *Cursor) loadLane(prefix string, fn func(string, []byte) error) error {
	own := lanePrefix(c.name)
	return c.state.Scan(own+prefix, func(key string, value []byte) error {
		return fn(strings.TrimPrefix(key, own), value)
	})
}
