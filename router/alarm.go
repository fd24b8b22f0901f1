package router

import (
	"context"
	"time"
)

// coarse is what the runtime's timers are good for: an idle process sleeps in
// whole milliseconds. An SSD syncs in less than one, so what is left of a wait is
// waited with better means where the system has them.
const coarse = 2 * time.Millisecond

// alarm wakes goroutines at a time: never earlier, and as little later as the
// system can.
type alarm struct {
	fine func(left time.Duration) bool // waits, or returns false at once if it cannot
}

func newAlarm() *alarm { return &alarm{fine: new(fineTimers).wait} }

// wait returns at a time, or when ctx ends. The end of ctx is not noticed within
// the last two milliseconds.
func (a *alarm) wait(ctx context.Context, until time.Time) {
	left := time.Until(until)
	if left > coarse {
		timer := time.NewTimer(left - coarse)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		left = time.Until(until)
	}
	if left > 0 && !a.fine(left) {
		<-time.After(left)
	}
}
