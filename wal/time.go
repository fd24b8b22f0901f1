package wal

import "time"

// Clock is the log's clock at a moment.
type Clock struct {
	Now time.Time // what a block would be stamped with
	// Doubt is why it is not believed, "" if it is. Blocks are stamped with it all
	// the same, and are not believed either until it has been set.
	Doubt string
	// Passes is when the doubt ends by itself, if nothing else comes; zero: never.
	Passes time.Time
	// Apart says that the doubt is that a destination's clock says otherwise.
	Apart bool
	// Led is the destination by whose clock time goes, as this machine's is wrong.
	Led string
	// Jump is by how far the machine's clock has jumped, if that is not followed yet.
	Jump time.Duration
	// Moved is by how much the clock was set within the last ten minutes.
	Moved time.Duration
	// Wall is the machine's clock.
	Wall time.Time
}

// Clock looks at the clock, and makes durable that it has been set if it has.
// Call it every few seconds: a clock that is set while nothing is appended is
// noticed by this alone.
func (l *Log) Clock() (Clock, error) {
	if l.committer == nil {
		wall := l.opts.Now().Round(0).UTC()
		return Clock{Now: wall, Wall: wall}, nil
	}
	c := l.committer.clock
	wall, mono := c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.lookAt(wall, mono)
	state := Clock{Now: c.believed(mono), Doubt: c.doubt.reason, Apart: c.doubt.apart, Led: c.led, Wall: wall}
	if mono.Sub(c.movedAt) < c.settle {
		state.Moved = c.moved
	}
	if !c.since.IsZero() {
		state.Jump = c.jumped
		if !c.doubt.firm || c.other.name != "" {
			state.Passes = wall.Add(max(0, c.settle-mono.Sub(c.since)))
		}
	}
	return state, err
}

// CompareClock tells the log what the clock of a destination says at this
// moment. If it is over an hour off, neither is believed for ten minutes; then
// the later one counts. What was stamped since the clock was last set is
// doubted as well, so nothing of it may have been delivered with its time.
func (l *Log) CompareClock(name string, there time.Time) error {
	if l.committer == nil {
		return ErrReadOnly
	}
	c := l.committer.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.compare(name, there)
}

// ClockCompared tells whether the clock has been compared since it was last set.
func (l *Log) ClockCompared() bool {
	if l.committer == nil {
		return true
	}
	c := l.committer.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.other.compared && c.doubt.reason == ""
}

// Age is for how long a block has been held, as far as that was seen: neither a
// clock that is set makes a block older, nor time in which the log was closed
// for more than an hour.
func (l *Log) Age(h Header) time.Duration {
	now, s := l.time()
	s.date(&h)
	return max(0, now.Sub(h.aged))
}

// Noted is the time by the log's clock, and a seq that says how far the log had come: what is
// noted with both can be told how old it is, see Elapsed, whatever the clock is set by.
func (l *Log) Noted() (at time.Time, seq uint64) {
	if l.committer == nil {
		return l.opts.Now().Round(0).UTC(), l.DurableSeq()
	}
	c := l.committer.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	seq = c.next - 1
	if s := l.readSteps(); len(s) > 0 {
		seq = max(seq, s[len(s)-1].Seq) // what is noted comes after the last step
	}
	return c.believed(time.Now()), seq
}

// Elapsed is how long ago something was noted, as far as that was seen, see Age.
func (l *Log) Elapsed(noted time.Time, seq uint64) time.Duration {
	return l.Age(Header{Time: noted, FirstSeq: seq})
}

// time is now, by the clock that goes with the steps.
func (l *Log) time() (time.Time, steps) {
	if l.committer == nil {
		return l.opts.Now().Round(0).UTC(), l.readSteps()
	}
	c := l.committer.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.believed(time.Now()), l.readSteps()
}
