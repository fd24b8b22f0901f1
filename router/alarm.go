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
	maxLate   = 2 * time.Millisecond
	maxEarly  = time.Millisecond
)

// mostLate is what one wake counts for at most: half of its wait, and maxLate. One
// that is later stands out whatever the others do, and is not to bring them forward.
func mostLate(wait time.Duration) time.Duration { return min(maxLate, wait/2) }

// mostEarly is by how much a wait may be shortened at most: by maxEarly, and by a
// quarter, since a short one would otherwise end before anything can be stored.
func mostEarly(wait time.Duration) time.Duration { return min(maxEarly, wait/4) }

// alarm wakes goroutines at a time. Every wake comes late; by how much in the
// mean is learnt, and the next ones are set earlier by that. The mean, not the
// median: under load a few wakes are late by so much that replies held by the
// median would take longer, in the mean, than those they are to look like.
type alarm struct {
	late atomic.Int64                  // the mean, in nanoseconds
	fine func(left time.Duration) bool // waits, or returns false at once if it cannot
}

func newAlarm() *alarm { return &alarm{fine: new(fineTimers).wait} }

// wait returns at a time: in the mean, and never earlier than mostEarly says,
// unless ctx ends. The end of ctx is not noticed within the last two milliseconds.
func (a *alarm) wait(ctx context.Context, until time.Time) {
	wait := time.Until(until)
	early := min(time.Duration(a.late.Load()), mostEarly(wait))
	until = until.Add(-early)
	left := wait - early
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
	a.learn(min(max(time.Since(until), 0), mostLate(wait)))
}

// learn adds to the mean by how much a wake was late.
func (a *alarm) learn(late time.Duration) {
	for {
		mean := a.late.Load()
		if a.late.CompareAndSwap(mean, mean+(int64(late)-mean)/lateWakes) {
			return
		}
	}
}
