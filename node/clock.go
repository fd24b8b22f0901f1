package node

import (
	"fmt"
	"time"

	"forebay/node/admin"
)

const (
	// clockTolerance is how far the clock may stand before the log's newest
	// block, or move against the monotonic clock between two looks: time
	// servers correct by less.
	clockTolerance = time.Minute
	// clockLeap is the jump from which the clock is not believed until it has
	// lasted for clockSettle, as in the log; a smaller one is only told.
	clockLeap   = time.Hour
	clockSettle = 10 * time.Minute
)

const clockRemedy = "mend time synchronisation (chronyc tracking, timedatectl)"

// clockWatch sees jumps of the wall clock against the monotonic one. It
// belongs to one goroutine.
type clockWatch struct {
	wall time.Time // believed …
	mono time.Time // … at this monotonic time
	seen time.Time // monotonic time at which the present jump was seen first; zero: none
}

// look returns by how much the wall clock has jumped, 0 if it has not or if
// that is long ago. Wall has no monotonic reading, mono has one.
func (c *clockWatch) look(wall, mono time.Time) time.Duration {
	jump := time.Duration(0)
	if !c.wall.IsZero() {
		jump = wall.Sub(c.wall.Add(mono.Sub(c.mono)))
	}
	switch {
	case jump.Abs() <= clockTolerance:
		jump, c.seen = 0, time.Time{}
	case c.seen.IsZero():
		c.seen = mono
	case mono.Sub(c.seen) >= clockSettle:
		jump, c.seen = 0, time.Time{}
	}
	if c.seen.IsZero() {
		c.wall, c.mono = wall, mono
	}
	return jump
}

// doubt says why the wall clock is not to be believed, "" if it is: a machine
// without a battery comes up in the past, and would drop every event as one
// from the future.
func (n *Node) doubt(now time.Time) string { return clockDoubt(now, n.built, n.log.Stats().NewestTime) }

// clockDoubt is doubt, given when the program was built and the time of the log's
// newest event.
func clockDoubt(now, built, newest time.Time) string {
	if now.Before(built) {
		return fmt.Sprintf("the clock says %s, but this program was built at %s", now.UTC().Format(time.RFC3339), built.UTC().Format(time.RFC3339))
	}
	if now.Before(newest.Add(-clockTolerance)) {
		return fmt.Sprintf("the clock says %s, but the log's newest event is from %s", now.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339))
	}
	return ""
}

// believedNow is router.Options.Now: the zero time while the clock is not
// believed, which suspends the rules on timestamps.
func (n *Node) believedNow() time.Time {
	if n.clockDoubted.Load() {
		return time.Time{}
	}
	return time.Now()
}

// clock: can timestamps be judged?
func (h *health) clock(wall, mono time.Time) admin.Check {
	const name, remedy = "clock", clockRemedy
	jump, doubt := h.jumps.look(wall, mono), h.node.doubt(wall)
	h.node.clockDoubted.Store(doubt != "" || jump.Abs() > clockLeap)
	switch {
	case doubt != "":
		return bad(name, false, remedy, "%s: timestamps are not checked until the clock is right", doubt)
	case jump.Abs() > clockLeap:
		return bad(name, false, remedy, "the clock has jumped by %s: timestamps are not checked, and the log keeps its own time, until it has stayed there for %s", jump.Round(time.Second), clockSettle)
	case jump != 0:
		return bad(name, true, remedy, "the clock has jumped by %s within the last %s", jump.Round(time.Second), clockSettle)
	}
	return good(name)
}
