package shipper

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Cursor is one reader's place in the log, and the machine that runs its
// sink. All methods are safe for concurrent use.
type Cursor struct {
	name   string
	part   *part // what it delivers and then ends; nil: all of the log, without end
	sink   Sink
	log    Log
	state  State
	set    *Cursors
	logger *slog.Logger
	wake   chan struct{} // a command changed something the run loop waits on

	operate sync.Mutex // one operator's command at a time
	saving  sync.Mutex // one commit of pos at a time, in order

	mu        sync.Mutex
	flush     Flush
	pos       position
	current   *Plan
	fillPlan  *Plan       // of the round that delivers requeued letters
	stalled   *PauseError // the sink gave up until something changes
	stalledAt time.Time
	runs      bool               // somebody calls run
	holds     int                // commands that want the sink to stand still
	orders    uint64             // counts commands: a turn given before the last one is void
	step      *step              // one batch may go out although paused
	again     bool               // an operator has changed the dead letters since the last turn
	cancel    context.CancelFunc // ends the running Ship
	stopped   chan struct{}      // closed when it has ended
	failure   failure
	nextTry   time.Time // zero: none is waited for
	counts    bool      // the sink counts what it delivers
	rate      meter
	capacity  capacity
	dead      deadCount
	account   account
	landfill  landfill
}

// Name is the cursor's name.
func (c *Cursor) Name() string { return c.name }

// Flush is when a batch of the cursor is closed.
func (c *Cursor) Flush() Flush {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush
}

// SetFlush changes that, from the next batch on.
func (c *Cursor) SetFlush(flush Flush) error {
	if err := flush.check(c.name); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush = flush
	return nil
}

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
		p := position{Next: c.log.FirstSeq(), Counted: true}
		if p.Next > 1 {
			p.Expired = []Range{{1, p.Next - 1}}
		}
		err := c.set.nextEpoch(func(epoch uint64, counter Write) error {
			p.Epoch = epoch
			w, err := p.write(c.name)
			if err != nil {
				return err
			}
			return c.commit([]Write{counter, w})
		})
		if err != nil {
			return fmt.Errorf("create cursor %s: %w", c.name, err)
		}
		c.pos = p
	} else if c.pos, err = decodePosition(c.name, saved); err != nil {
		return err
	}
	c.pos.Pause = c.pos.Pause.loaded(time.Now(), c.log.Doubted(c.log.DurableSeq()+1))
	if c.current, err = c.loadPlan(c.name); err != nil {
		return err
	}
	if c.fillPlan, err = c.loadPlan(fillName(c.name)); err != nil {
		return err
	}
	if err := c.countDead(); err != nil {
		return err
	}
	if err := c.loadThrown(); err != nil {
		return err
	}
	if !c.pos.Counted { // saved before shipped events were counted
		c.pos.Counted, c.pos.Shipped = true, c.account.shipped(&c.pos)
	}
	return nil
}

func (c *Cursor) loadPlan(name string) (*Plan, error) {
	saved, err := c.state.Get(planKey(name))
	if err != nil {
		return nil, fmt.Errorf("load plan of cursor %s: %w", name, err)
	}
	plan, err := decodePlan(saved)
	if err != nil {
		return nil, fmt.Errorf("cursor %s: %w", name, err)
	}
	return plan, nil
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
	return c.saveThen(change, func() {}, writes...)
}

// saveThen is saveLocked; publish runs in the moment in which others see the
// new position.
func (c *Cursor) saveThen(change func(*position), publish func(), writes ...Write) error {
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
	defer c.mu.Unlock()
	c.pos = p
	publish()
	return nil
}

// passed is what a feed knows of the seqs that it advances over.
type passed struct {
	events        []Range // handed out
	lost, expired []Range
}

// advance is Feed.Advance of a feed of the given epoch.
func (c *Cursor) advance(epoch, next uint64, over passed, writes []Write) error {
	writes = c.lane(writes)
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	now, from, plan := c.pos.Epoch, c.pos.Next, c.current
	c.mu.Unlock()
	if now != epoch {
		return fmt.Errorf("BUG: cursor %s: advance to %d in epoch %d, after a move to epoch %d: the sink has not stood still", c.name, next, epoch, now)
	}
	if next <= from {
		if len(writes) == 0 {
			return nil
		}
		return c.commit(writes)
	}
	newest := c.log.DurableSeq()
	if next > newest+1 {
		return fmt.Errorf("BUG: cursor %s: advance to %d, past the durable end of the log at %d", c.name, next, newest)
	}
	done := plan != nil && plan.Last < next
	if done {
		writes = append(writes, Write{Key: planKey(c.name)})
	}
	shipped, again := c.account.delivered(over.events, from, next-1, epoch) // the account changes under c.saving only
	for _, seq := range again {
		writes = append(writes, Write{Key: thrownKey(c.name, seq)})
	}
	return c.saveStepped(func(p *position) {
		p.Next = next
		if p.RepeatsTo < next {
			p.RepeatsTo = 0
		}
		p.Shipped += shipped
		for _, r := range over.lost {
			c.note(p, &p.Lost, r)
		}
		for _, r := range over.expired {
			c.note(p, &p.Expired, r)
		}
	}, func() {
		for _, seq := range again {
			c.account.forget(seq)
		}
		if done {
			c.current = nil
		}
		if !c.counts {
			c.rate.add(time.Now(), next-from)
		}
		if f, _ := c.frontLocked(); f.Parked != nil { // then the position tells nothing of the pace
			c.capacity.begin(time.Now(), newest)
			return
		}
		c.capacity.advanced(time.Now(), next-from, next, newest)
	}, writes...)
}

// note puts r into one of the position's lists. Only of all of the log is
// everything in no list shipped, and counted down when lists are joined.
func (c *Cursor) note(p *position, list *[]Range, r Range) {
	if c.part != nil {
		*list = addRange(*list, r)
		return
	}
	p.note(list, r, &c.account)
}

// saveStepped is saveThen for an advance: if it is a step's, the step is in
// the audit trail by the same commit.
func (c *Cursor) saveStepped(change func(*position), publish func(), writes ...Write) error {
	c.mu.Lock()
	s, after := c.step, c.pos
	c.mu.Unlock()
	if s == nil {
		return c.saveThen(change, publish, writes...)
	}
	change(&after)
	return c.set.trail.extend(&s.entry, placeOf(s.from), placeOf(after), func(entry ...Write) error {
		return c.saveThen(change, publish, append(writes, entry...)...)
	})
}

func (c *Cursor) plan(fill bool) *Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	plan := c.current
	if fill {
		plan = c.fillPlan
	}
	if plan == nil {
		return nil
	}
	p := *plan
	return &p
}

func (c *Cursor) savePlan(p Plan, fill bool) error {
	name := c.name
	if fill {
		name = fillName(c.name)
	}
	w, err := p.write(name)
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
	if fill {
		c.fillPlan = &p
	} else {
		c.current = &p
	}
	return nil
}

func (c *Cursor) commit(writes []Write) error {
	if err := c.state.Commit(writes...); err != nil {
		return fmt.Errorf("save state of cursor %s: %w", c.name, err)
	}
	return nil
}

// commitThen commits, and runs publish in the moment in which others see it.
func (c *Cursor) commitThen(publish func(), writes []Write) error {
	if err := c.commit(writes); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	publish()
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
