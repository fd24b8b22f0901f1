package router

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	// coarse is what the runtime's timers are good for: an idle process sleeps
	// in whole milliseconds. An SSD syncs in less than one, so what is left of a
	// wait is waited with better means where the system has them.
	coarse = 2 * time.Millisecond
	// lateStep is by how much one wake moves the lateness that is expected.
	lateStep = 500 * time.Nanosecond
	maxLate  = time.Millisecond
)

// alarm wakes goroutines at a time. Every wake comes late; by how much at the
// median is learnt, and the next ones are set earlier by that.
type alarm struct {
	late atomic.Int64                  // nanoseconds
	fine func(left time.Duration) bool // waits, or returns false at once if it cannot
}

func newAlarm() *alarm { return &alarm{fine: new(fineTimers).wait} }

// wait returns at a time, or earlier if ctx ends. The end of ctx is not
// noticed within the last two milliseconds.
func (a *alarm) wait(ctx context.Context, until time.Time) {
	late := time.Duration(a.late.Load())
	until = until.Add(-late)
	left := time.Until(until)
	if left <= 0 {
		return
	}
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
	a.learn(late, time.Since(until))
}

// learn moves the expected lateness towards what it was: as many wakes are
// later than that as are earlier.
func (a *alarm) learn(expected, was time.Duration) {
	step := lateStep
	if was < expected {
		step = -step
	}
	a.late.Store(int64(min(max(expected+step, 0), maxLate)))
}
