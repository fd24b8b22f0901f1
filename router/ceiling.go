package router

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxCeilingWait bounds how long an answer waits for the ceiling. If it was not
// raised by then whoever saves it cannot, and answers no longer wait until it
// is raised again.
const maxCeilingWait = time.Second

// Ceiling holds back answers that count for more than has been saved. Counts
// are saved now and then, not at every request. So that a crash loses a bounded
// number of them, a number somewhat higher than the counts (the ceiling) is saved
// first, and a request is answered only once its own number is at most the
// ceiling, or after maxCeilingWait.
//
// Make one with NewCeiling; nobody hears when a zero one wants to be raised. All
// methods are safe for concurrent use.
type Ceiling struct {
	requests, events atomic.Uint64
	overdue          atomic.Bool

	mu     sync.Mutex
	raised chan struct{} // closed when the ceiling is raised; nil if nobody waits
	wanted chan struct{}
}

// NewCeiling returns a ceiling of 0.
func NewCeiling() *Ceiling { return &Ceiling{wanted: make(chan struct{}, 1)} }

// Set moves the ceiling. Lower it before a lower one is saved, and raise it
// once a higher one is.
func (c *Ceiling) Set(requests, events uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests.Store(requests)
	c.events.Store(events)
	c.overdue.Store(false)
	if c.raised != nil {
		close(c.raised)
		c.raised = nil
	}
}

// Get is where the ceiling is.
func (c *Ceiling) Get() (requests, events uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests.Load(), c.events.Load()
}

// Wanted receives when an answer waits, or soon will.
func (c *Ceiling) Wanted() <-chan struct{} { return c.wanted }

// Overdue tells whether answers go out beyond the ceiling, since nobody has
// raised it in time: what a crash would leave out has then no bound.
func (c *Ceiling) Overdue() bool { return c.overdue.Load() }

func (c *Ceiling) covers(requests, events uint64) bool {
	return requests <= c.requests.Load() && events <= c.events.Load()
}

// want asks for a higher ceiling.
func (c *Ceiling) want() {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

// await returns once the ceiling covers these numbers.
func (c *Ceiling) await(requests, events uint64) {
	if c == nil || c.covers(requests, events) || c.overdue.Load() {
		return
	}
	timer := time.NewTimer(maxCeilingWait)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if c.covers(requests, events) || c.overdue.Load() {
			c.mu.Unlock()
			return
		}
		if c.raised == nil {
			c.raised = make(chan struct{})
		}
		raised := c.raised
		c.mu.Unlock()
		c.want()
		select {
		case <-raised:
		case <-timer.C:
			c.overdue.Store(true)
			return
		}
	}
}
