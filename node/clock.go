package node

import (
	"fmt"
	"time"

	"forebay/node/admin"
)

// clockTolerance is how far the clock may stand before the log's newest block
// and still be believed: time servers correct by less.
const clockTolerance = time.Minute

// doubt says why the wall clock is not to be believed, "" if it is: a machine
// without a battery comes up in the past, and would drop every event as one
// from the future.
func (n *Node) doubt(now time.Time) string {
	if now.Before(n.built) {
		return fmt.Sprintf("the clock says %s, but this program was built at %s", now.UTC().Format(time.RFC3339), n.built.UTC().Format(time.RFC3339))
	}
	if newest := n.log.Stats().NewestTime; now.Before(newest.Add(-clockTolerance)) {
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
func (h *health) clock(now time.Time) admin.Check {
	doubt := h.node.doubt(now)
	h.node.clockDoubted.Store(doubt != "")
	if doubt != "" {
		return bad("clock", false, "%s: timestamps are not checked until the clock is right; mend time synchronisation", doubt)
	}
	return good("clock")
}
