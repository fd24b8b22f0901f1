package node

import (
	"context"
	"fmt"
	"time"

	"forebay/node/admin"
	"forebay/wal"
)

const clockRemedy = "set the clock (timedatectl set-time, date -s), or mend time synchronisation (chronyc tracking, timedatectl)"

// clockDoubt says why a clock is not to be believed, given when the program was
// built and the time of the log's newest event, "" if it is.
func clockDoubt(now, built, newest time.Time) string {
	if now.Before(built) {
		return fmt.Sprintf("the clock says %s, but this program was built at %s", now.UTC().Format(time.RFC3339), built.UTC().Format(time.RFC3339))
	}
	if now.Before(newest.Add(-time.Minute)) {
		return fmt.Sprintf("the clock says %s, but the log's newest event is from %s", now.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339))
	}
	return ""
}

const (
	// compareEvery is how often it is tried to compare the clock, and how long one try may take.
	compareEvery = 5 * time.Second
	// comparePatience is for how long after the start timestamps are not judged because the clock
	// has not been compared.
	comparePatience = 10 * time.Minute
)

// compareClock holds this machine's clock against ClickHouse's at the start, and each time that
// it was set.
func (n *Node) compareClock(ctx context.Context) {
	if n.clickhouse == nil {
		return
	}
	tick := time.NewTicker(compareEvery)
	defer tick.Stop()
	for {
		if !n.compared.Load() || !n.log.ClockCompared() {
			trying, cancel := context.WithTimeout(ctx, compareEvery)
			if err := n.clickhouse.CompareClock(trying); err == nil {
				n.compared.Store(true)
			}
			cancel()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// believedNow is router.Options.Now: the log's time, or the zero time while the clock is not
// believed, which suspends the rules on timestamps.
func (n *Node) believedNow() time.Time {
	c := n.clock.Load()
	if c == nil || c.Doubt != "" || c.Jump != 0 {
		return time.Time{}
	}
	if n.clickhouse != nil && !n.compared.Load() && time.Since(n.started) < comparePatience {
		return time.Time{}
	}
	return n.now().Add(c.Now.Sub(c.Wall))
}

// clock: can timestamps be judged, and is what comes stamped with the right time?
func (h *health) clock() admin.Check {
	const name = "clock"
	c, err := h.node.log.Clock()
	h.node.clock.Store(&c)
	if err != nil {
		return bad(name, true, "check the disk: the log keeps there when the clock was set", "that the clock was set cannot be saved: %v", err)
	}
	return clockCheck(name, c)
}

func clockCheck(name string, c wal.Clock) admin.Check {
	passes := ""
	if !c.Passes.IsZero() {
		passes = fmt.Sprintf(" (until %s, if it goes on steadily)", c.Passes.UTC().Format(time.RFC3339))
	}
	switch {
	case c.Doubt != "":
		return bad(name, c.Apart, clockRemedy, "%s: until the clock is right%s timestamps are not checked, and what comes waits for its time before it goes to ClickHouse and the archive", c.Doubt, passes)
	case c.Jump != 0:
		return bad(name, false, clockRemedy, "the clock has jumped by %s: until it has stayed there%s timestamps are not checked, and time goes on as before", c.Jump.Round(time.Second), passes)
	case c.Led != "":
		return bad(name, true, clockRemedy, "the clock says %s, and is wrong: time goes by that of %s, which says %s", c.Wall.UTC().Format(time.RFC3339), c.Led, c.Now.UTC().Format(time.RFC3339))
	case c.Moved != 0:
		return bad(name, true, clockRemedy, "the clock was set by %s a short while ago", c.Moved.Round(time.Second))
	}
	return good(name)
}
