package shipper

import (
	"context"
	"errors"
	"time"
)

// Believed returns nil if the events of first..last of the log, which Next has
// returned, are believed to have come when their ReceivedAt says. Else it is a *PauseError, to
// be returned by Ship: it is to begin anew once the node's clock is believed.
func (f *Feed) Believed(first, last uint64) error {
	if f.fill || !f.cursor.log.Doubted(first) && !f.cursor.log.Doubted(last) {
		return nil
	}
	return f.heldBack(last)
}

// heldBack is the pause of a cursor whose next event, seq, has no time yet.
func (f *Feed) heldBack(seq uint64) error {
	c := f.cursor
	return &PauseError{
		Reason: "this machine's clock is not believed, and its events are not delivered with a time that it has stamped: set the clock (the check clock says more); it goes on by itself",
		Probe: func(context.Context) error {
			if c.log.Doubted(seq) {
				return errors.New("the clock is not believed")
			}
			return nil
		},
	}
}

// dated tells whether the cursor's sink delivers times.
func (c *Cursor) dated() bool {
	_, is := c.sink.(Dated)
	return is
}

// Noted is the present, as Elapsed takes it.
func (f *Feed) Noted() (at time.Time, seq uint64) { return f.cursor.log.Noted() }

// Elapsed is how long ago something was noted, whatever the clock was set by
// since. A zero seq, of what was noted without one, counts by the clock alone.
func (f *Feed) Elapsed(at time.Time, seq uint64) time.Duration {
	if seq == 0 {
		return time.Since(at)
	}
	return f.cursor.log.Elapsed(at, seq)
}
