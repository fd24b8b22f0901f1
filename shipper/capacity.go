package shipper

import (
	"math"
	"time"
)

// capacity measures how fast a cursor delivers when it does not have to wait
// for events: the rate of a cursor that has caught up is that of what comes in,
// and tells nothing of how long a backlog takes.
//
// The time between two advances counts if more events were there at its
// beginning than the cursor delivered until its end, so that no batch waited to
// be filled, and if nothing failed meanwhile.
type capacity struct {
	since  time.Time // when the present interval began; zero: it does not count
	newest uint64    // the last event that was there then

	events uint64 // of the intervals in a row that are no evidence yet
	took   time.Duration

	mean struct{ events, seconds float64 } // of all evidence, the older counting less
	at   time.Time                         // of the newest evidence
}

// Intervals in a row are evidence from so many events or so long on: the few
// that wait behind one request tell nothing of thousands.
const (
	evidenceEvents = 10_000
	evidenceTime   = 250 * time.Millisecond
)

// evidenceSpan is after how much more evidence an older one counts 1/e.
const evidenceSpan = 30 * time.Second

// begin starts an interval: the sink gets to work, with events up to newest there.
func (c *capacity) begin(now time.Time, newest uint64) {
	c.interrupt()
	c.since, c.newest = now, newest
}

// interrupt gives up the interval: the sink failed, or stands still.
func (c *capacity) interrupt() {
	c.since, c.events, c.took = time.Time{}, 0, 0
}

// advanced ends an interval with so many events delivered, up to before next,
// and starts another.
func (c *capacity) advanced(now time.Time, events, next, newest uint64) {
	if c.since.IsZero() || next > c.newest {
		c.begin(now, newest)
		return
	}
	c.events += events
	c.took += now.Sub(c.since)
	c.since, c.newest = now, newest
	if c.events < evidenceEvents && c.took < evidenceTime {
		return
	}
	seconds := c.took.Seconds()
	keep := math.Exp(-seconds / evidenceSpan.Seconds())
	c.mean.events = c.mean.events*keep + float64(c.events)
	c.mean.seconds = c.mean.seconds*keep + seconds
	c.at, c.events, c.took = now, 0, 0
}

// perSecond is the events a second that were delivered, 0 if that is not known.
func (c *capacity) perSecond() float64 {
	if c.mean.seconds <= 0 {
		return 0
	}
	return c.mean.events / c.mean.seconds
}

// takes is how many seconds so many events take, the wait for the last batch to
// be old enough included; 0 if that is not known.
func (c *capacity) takes(events uint64, flush Flush) float64 {
	rate := c.perSecond()
	if rate <= 0 || events == 0 {
		return 0
	}
	return float64(events)/rate + flush.Age.Seconds()
}
