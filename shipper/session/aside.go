package session

import (
	"container/heap"
	"fmt"
	"time"

	"forebay/shipper/session/header"
)

// countFailed adds to a parked session's time of failing what has passed since
// it was counted last. Time in which the whole endpoint was down, or nothing was
// sent, is not the session's.
func (r *run) countFailed(l *lane, now time.Time) {
	down := r.breaker.outage(now)
	passed := now.Sub(l.counted) - (down - l.outage)
	l.failed += passed
	l.strayed += passed
	l.counted, l.outage = now, down
}

// tooOld says whether a parked session has failed for so long that it may no
// longer hold up the position.
func (r *run) tooOld(l *lane) bool {
	return r.o.ParkedMaxAge > 0 && !r.feed.Fill() && l.failed > r.o.ParkedMaxAge
}

// queues says whether a lane's events go to the dead letters without a try.
func (r *run) queues(l *lane) bool { return r.troubles.isAside(l.id) && !r.feed.Fill() }

// setAside queues the session's events in the dead letters, these and those
// to come, until it is released.
func (r *run) setAside(l *lane, now time.Time) {
	why := l.trouble()
	r.o.Logger.Warn("session set aside: its events are queued in the dead letters",
		"project", l.key.project, "session", l.key.session, "since", l.since, "failures", l.failures, "cause", l.cause)
	r.unpark(l, now)
	l.repeat = 0
	r.troubles.put(l.id, why)
	r.enqueue(l)
}

// release lets a session that was set aside have its events again.
func (r *run) release(id header.SessionID) {
	if r.troubles.isAside(id) {
		r.troubles.take(id)
		r.touch(time.Now())
	}
}

// asideReason is why an event of a session that was set aside is buried.
func asideReason(why trouble) string {
	return fmt.Sprintf("queued: the session had failed since %s, %d times: %s",
		why.Since.Format(time.RFC3339), why.Failures, why.Cause)
}

// setAsideParked sets aside what is parked and not being tried.
func (r *run) setAsideParked(now time.Time) {
	for len(r.waiting) > 0 {
		r.setAside(heap.Pop(&r.waiting).(*lane), now)
	}
}

// obey carries out what was ordered since the last look. In a fill nobody is
// set aside.
func (r *run) obey() {
	if !r.feed.Fill() && r.sink.setAside.Swap(false) {
		r.setAsideParked(time.Now())
	}
}
