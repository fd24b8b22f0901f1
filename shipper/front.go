package shipper

import (
	"context"
	"fmt"
	"time"
)

// Fronted is implemented by sinks that deliver events above the cursor's
// position while some below it fail.
type Fronted interface {
	// Front returns the newest figures; false if there are none yet.
	Front() (Front, bool)
}

// Front is how far such a sink is.
type Front struct {
	Epoch   uint64    // in which this holds
	Next    uint64    // the first seq that was not taken from the log
	Waiting uint64    // events below Next that are not delivered
	Lost    uint64    // seqs from the position to Next that nobody gets
	Flowing uint64    // the lowest seq that waits and is not parked
	Parked  *Parked   // nil: none is
	NextTry time.Time // of what failed last; zero: nothing fails
}

// Parked is what fails for itself, while the rest is delivered.
type Parked struct {
	Sessions int       `json:"sessions"`
	Events   uint64    `json:"events"` // of them, that wait
	Since    time.Time `json:"since"`  // the first failure of the one that fails for longest
	Oldest   time.Time `json:"oldest"` // when the oldest of the events was received
	Cause    string    `json:"cause"`  // of the one that fails for longest
	NextTry  time.Time `json:"next_try,omitzero"`
}

// frontLocked is the sink's front, if it is of this epoch. What a replay selects
// has holes, so that nothing can be told from seqs.
func (c *Cursor) frontLocked() (Front, bool) {
	sink, ok := c.sink.(Fronted)
	if !ok || c.part != nil {
		return Front{}, false
	}
	f, ok := sink.Front()
	return f, ok && f.Epoch == c.pos.Epoch
}

// ahead moves what was delivered above the position out of what is pending, and
// returns how much waits.
func (a *account) ahead(s *Account, f Front, next uint64) (waiting uint64) {
	if f.Next <= next {
		return s.Pending
	}
	lost := min(f.Lost, s.Pending)
	done := f.Next - next
	done = min(done-min(done, f.Waiting+lost), s.Pending-lost)
	dead := min(a.dead.count(next, f.Next-1), done)
	thrown := min(a.thrown.count(next, f.Next-1), done-dead)
	s.Shipped += done - dead - thrown
	s.Dead, s.Discarded, s.Lost = s.Dead+dead, s.Discarded+thrown, s.Lost+lost
	s.Pending -= done + lost
	return s.Pending
}

// Delivered counts n events as delivered now, for the rate, by a sink that is
// ahead of the cursor's position. Without it the advances are counted.
func (f *Feed) Delivered(n int) {
	if f.refill != nil || f.fill {
		return
	}
	f.cursor.mu.Lock()
	defer f.cursor.mu.Unlock()
	f.cursor.counts = true
	f.cursor.rate.add(time.Now(), uint64(n))
}

// Rest pauses for d before another try, as Sleep does, and lets operators know
// when that will be.
func (f *Feed) Rest(ctx context.Context, d time.Duration) error {
	if f.refill != nil {
		return Sleep(ctx, d)
	}
	f.cursor.triesAt(time.Now().Add(d))
	defer f.cursor.triesAt(time.Time{})
	return Sleep(ctx, d)
}

func (c *Cursor) triesAt(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextTry = at.UTC()
	if at.IsZero() {
		c.nextTry = time.Time{}
	}
}

// Remedy is what to do about the state that the cursor is in, "" if it needs
// nothing: one sentence, with the names in it.
func (s Status) Remedy() string {
	when := "by itself"
	if !s.NextTry.IsZero() {
		when = "at " + s.NextTry.UTC().Format(time.RFC3339)
	}
	switch p := s.Pause; {
	case s.Stopped && s.State != Paused:
		return ""
	case s.State == Paused && p != nil && p.Asks:
		return fmt.Sprintf("do what the reason says: cursor %s asks every %s and goes on by itself, at once with forebay cursor retry %s", s.Name, probeEvery, s.Name)
	case s.State == Paused && p != nil && p.By == ownName:
		return fmt.Sprintf("do what the reason says, then forebay cursor resume %s", s.Name)
	case s.State == Paused && p != nil && !p.Until.IsZero():
		return fmt.Sprintf("cursor %s goes on at %s, at once with forebay cursor resume %s", s.Name, p.Until.UTC().Format(time.RFC3339), s.Name)
	case s.State == Paused:
		return fmt.Sprintf("forebay cursor resume %s lets it go on", s.Name)
	case s.State == Failing:
		return fmt.Sprintf("mend what the error names: cursor %s tries again %s, at once with forebay cursor retry %s", s.Name, when, s.Name)
	case s.Parked != nil:
		return fmt.Sprintf("mend what the cause names: these sessions are tried again %s, at once with forebay cursor retry %s; forebay cursor show %s lists them", when, s.Name, s.Name)
	}
	return ""
}
