package session

import (
	"time"

	"forebay/shipper"
)

// bury hands the first n events of a lane to the keeper, for reason. The lane
// rests until they are dead letters.
func (r *run) bury(l *lane, n int, reason string) {
	l.letters, l.reason = n, reason
	r.burying = append(r.burying, l)
}

// commit gives the keeper what is to be made durable next, if it is free.
// Events that are to be buried go first, since their sessions wait.
func (r *run) commit(now time.Time) {
	if r.committing != nil {
		return
	}
	if r.end != nil {
		if r.inFlight == 0 && !r.finalSaved {
			r.finalSaved = true
			r.submit(r.collect(now))
		} else if now.Sub(r.stopped) >= grace {
			r.hangUp()
		}
		return
	}
	if len(r.burying) > 0 {
		r.submit(r.burial(now))
		return
	}
	over := r.eof && len(r.lanes) == 0
	if !r.touched.IsZero() && (over || r.beyond() || now.Sub(r.touched) >= saveEvery) {
		r.submit(r.collect(now))
		r.publish(now)
	}
}

func (r *run) submit(c commit) {
	if len(c.letters) == 0 && len(c.writes) == 0 && c.advance == 0 {
		return
	}
	r.committing = &c
	r.commits <- c
}

// collect is the commit of all that changed since the last.
func (r *run) collect(now time.Time) commit {
	r.touched = time.Time{}
	low := r.low()
	c := commit{writes: r.gaps.collect()}
	if !r.feed.Fill() {
		c.writes = append(c.writes, r.marks.collect(low)...)
	}
	if c.reach = r.extend(); c.reach != nil {
		c.writes = append(c.writes, c.reach.write())
	}
	c.writes = append(c.writes, r.troubles.collect()...)
	if low > r.position {
		c.advance = low
	}
	return c
}

// burial is the commit of waiting dead letters, with the gaps and marks that
// follow from them. In memory these change once it is durable.
func (r *run) burial(now time.Time) commit {
	c := commit{}
	for len(r.burying) > 0 {
		l := r.burying[0]
		if len(c.letters) > 0 && len(c.letters)+l.letters > maxLetters {
			break
		}
		r.burying = r.burying[1:]
		events := l.queue[:l.letters]
		for _, e := range events {
			d := l.letter(e, l.reason, l.tries)
			d.Queued = r.queues(l)
			c.letters = append(c.letters, d)
		}
		if !l.foreign() { // which only a fill has, an event at a time
			c.writes = append(c.writes, r.gaps.with(l.id, events).write(l.id))
		}
		if !r.feed.Fill() {
			c.writes = append(c.writes, r.marks.write(l.id, events[len(events)-1].seq))
		}
		c.lanes = append(c.lanes, l)
	}
	return c
}

// settle acts upon the end of a commit.
func (r *run) settle(err error, now time.Time) {
	c := r.committing
	r.committing = nil
	if err != nil {
		r.stop(err)
		return
	}
	r.position = max(r.position, c.advance)
	if c.reach != nil {
		r.reach, r.saved = *c.reach, *c.reach
	}
	for _, l := range c.lanes {
		events := l.queue[:l.letters]
		if !l.foreign() {
			r.keepGaps(l, r.gaps.with(l.id, events))
		}
		r.sink.buried.Add(uint64(len(events)))
		r.drop(l, l.letters, now)
	}
}

// keepGaps notes what a session is to be told, and says when others are no longer.
func (r *run) keepGaps(l *lane, k gap) {
	if n := r.gaps.keep(l.id, k); n > 0 {
		r.sink.forgotten.Add(uint64(n))
		r.o.Logger.Warn("too many sessions were not told of gaps and never went on: those silent for longest will not be told",
			"bound", maxGaps, "forgotten", n)
	}
}

var _ shipper.Sink = (*Sink)(nil)
