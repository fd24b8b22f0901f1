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
	// lateWakes is how many wakes the expected lateness is the mean of, about.
	lateWakes = 256
	// maxLate bounds what is expected. One wake counts for twice that at most, so
	// that a stall does not bring all that follow forward.
	maxLate = time.Millisecond
	// lateShare is the part of a wait, one in four, by which it may be shortened
	// at most. Short ones would otherwise end before anything can be stored.
	lateShare = 4
)

// alarm wakes goroutines at a time. Every wake comes late; by how much in the
// mean is learnt, and the next ones are set earlier by that. The mean, not the
// median: under load a few wakes are late by so much that held replies would come
// later than those they are to look like.
type alarm struct {
	late atomic.Int64                  // nanoseconds
	fine func(left time.Duration) bool // waits, or returns false at once if it cannot
}

func newAlarm() *alarm { return &alarm{fine: new(fineTimers).wait} }

// wait returns at a time, or earlier if ctx ends. The end of ctx is not
// noticed within the last two milliseconds.
func (a *alarm) wait(ctx context.Context, until time.Time) {
	left := time.Until(until)
	expected := time.Duration(a.late.Load())
	shorter := min(expected, left/lateShare)
	until, left = until.Add(-shorter), left-shorter
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
	a.learn(expected, time.Since(until))
}

// learn moves the expected lateness towards what it was.
func (a *alarm) learn(expected, was time.Duration) {
	was = min(max(was, 0), 2*maxLate)
	a.late.Store(int64(min(expected+(was-expected)/lateWakes, maxLate)))
}
