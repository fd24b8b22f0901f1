package node

import (
	"fmt"
	"time"

	"forebay/shipper"
	"forebay/shipper/session"
)

// stuckAfter is how long a cursor that has events to deliver may stand at one
// place, its flush age aside, before it counts as stuck.
const stuckAfter = 5 * time.Minute

// stuckWatch tells the cursors that stand still from those that have nothing to
// do. A cursor that fails or is paused says so itself; one that is stuck does
// not know of it.
type stuckWatch struct {
	patience func(cursor string) time.Duration // how long it may wait for more
	standing map[string]standing
}

// standing is a place at which a cursor with work to do was seen first.
type standing struct {
	next, epoch uint64
	since       time.Time
}

func newStuckWatch(patience func(cursor string) time.Duration) *stuckWatch {
	return &stuckWatch{patience: patience, standing: map[string]standing{}}
}

// since notes where the cursor stands and returns since when it is
// stuck, the zero time if it is not.
func (w *stuckWatch) since(s shipper.Status, now time.Time) time.Time {
	at, known := w.standing[s.Name]
	flows := s.Parked != nil && (s.LagEvents <= s.Parked.Events || s.RatePerSecond > 0) // the position waits for those that are parked
	if s.LagEvents == 0 || s.State != shipper.Running || s.Stopped || flows {
		delete(w.standing, s.Name)
		return time.Time{}
	}
	if !known || at.next != s.NextSeq || at.epoch != s.Epoch {
		w.standing[s.Name] = standing{next: s.NextSeq, epoch: s.Epoch, since: now}
		return time.Time{}
	}
	if now.Sub(at.since) < stuckAfter+w.patience(s.Name) {
		return time.Time{}
	}
	return at.since
}

// whyStuck names what a cursor waits for.
func whyStuck(s shipper.Status) string {
	if sink, ok := s.Sink.(session.Stats); ok {
		switch {
		case sink.Down:
			return fmt.Sprintf("the Session Manager is taken as down since %s", sink.DownSince.UTC().Format(time.RFC3339))
		case len(sink.Parked) > 0:
			first := sink.Parked[0]
			return fmt.Sprintf("%d sessions fail while others flow; session %s of project %s holds the position since %s: %s",
				sink.ParkedCount, first.Session, first.Project, first.Since.UTC().Format(time.RFC3339), first.Cause)
		case sink.InFlight > 0:
			return fmt.Sprintf("%d requests to the Session Manager have no answer", sink.InFlight)
		}
	}
	if s.Plan != nil {
		return fmt.Sprintf("the plan of seq %d to %d, attempt %d, has no outcome since %s",
			s.Plan.First, s.Plan.Last, s.Plan.Attempts, s.Plan.At.UTC().Format(time.RFC3339))
	}
	return "nothing is in flight, so it does not read the log"
}
