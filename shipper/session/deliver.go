package session

import (
	"container/heap"
	"fmt"
	"time"

	"forebay/shipper"
)

// dispatch sends as many requests as may be in flight.
func (r *run) dispatch(now time.Time) {
	if r.end != nil || r.beyond() {
		return
	}
	r.breaker.wait(now, r.inFlight)
	for r.inFlight < r.breaker.allowed(now) {
		l := r.pick(now)
		if l == nil {
			return
		}
		r.send(l, now)
	}
}

// pick takes the lane whose turn it is. Sessions that fail get at most half of
// the lanes, and while others wait at most half of the requests that may be in
// flight now, so that slow failures leave room; while the endpoint is down, a
// session that has not failed makes the better probe.
func (r *run) pick(now time.Time) *lane {
	due := len(r.waiting) > 0 && !r.waiting[0].due.After(now)
	others := r.ready.len() > 0
	switch {
	case due && !others && r.retrying < max(1, r.o.Lanes/2), due && !r.breaker.open && r.retrying < r.breaker.limit/2:
		return heap.Pop(&r.waiting).(*lane)
	case others:
		return r.ready.pop()
	}
	return nil
}

// send gives the front of a lane to a worker.
func (r *run) send(l *lane, now time.Time) {
	l.tries++
	n := l.batch(r.sink.sizes.at(now), r.reach.RepeatsTo, r.gaps.ranges)
	if r.breaker.open && (l.repeat == 0 || l.astray) {
		n = 1 // a probe is as small as can be, unless its outcome is unknown: perhaps it is the size that fails
	}
	j := job{lane: l, retry: l.failures > 0, request: request{
		id: l.id, project: l.key.project, session: l.key.session, epoch: r.feed.Epoch(),
		events: l.queue[:n:n], fill: r.feed.Fill(), beside: r.o.Beside,
	}}
	if !l.foreign() { // else what is known of this log's seqs says nothing
		j.request.gaps = r.gaps.pending(l.id, r.decided(l))
		j.request.replay = l.first() <= r.reach.RepeatsTo
	}
	r.inFlight++
	if j.retry {
		r.retrying++
	}
	r.jobs <- j
}

// decided is the seq below which all of a session is delivered or buried, in
// this epoch or before the place where it began.
func (r *run) decided(l *lane) uint64 {
	if r.feed.Fill() {
		return max(r.feed.Start(), r.marks.bySess[l.id].Seq+1)
	}
	return l.first()
}

// finish acts upon what became of a request.
func (r *run) finish(done result, now time.Time) {
	r.inFlight--
	if done.retry {
		r.retrying--
	}
	l, a := done.lane, done.answer
	if a.verdict == failed && r.requests.Err() != nil { // hung up on: the outcome is nobody's fault
		r.ready.push(l)
		return
	}
	a = r.judge(l, a, now)
	done.answer = a
	r.sink.count(done)
	defer func() { l.tried = now }()
	switch a.verdict {
	case accepted:
		r.accepted(done, now)
	case failed:
		down := a.down || a.stray && l.failures > 0 && !r.passed.After(l.since)
		r.breaker.failed(now, l.id, l.failures == 0, down, a.retryAfter)
		r.park(l, len(done.request.events), a, now)
	case refused:
		r.alive(now)
		r.unpark(l, now)
		r.refuse(l, len(done.request.events), a)
	case unauthorized:
		r.ready.push(l)
		r.stop(r.sink.unauthorized(a.err))
	case stale:
		r.ready.push(l)
		r.stop(&shipper.PauseError{
			Reason: "the Session Manager has seen a higher epoch of this log: two nodes share one log, or the state was restored from an older copy; if this node is the right one, rewind the cursor (it takes a new epoch) and resume",
			Err:    a.err,
		})
	}
}

// judge is what an answer means, as things stand. Refused credentials do not
// pause the cursor while a GET with the same token is taken. An answer that
// concerns the endpoint is a refusal of the events once it has lasted for long
// while other sessions were taken.
func (r *run) judge(l *lane, a answer, now time.Time) answer {
	if a.verdict == unauthorized && r.sink.misled() {
		a.verdict, a.stray, a.sized = failed, true, true
		a.err = fmt.Errorf("%w, though it takes a GET with the same token: see what it allows", a.err)
	}
	if !a.refusal {
		l.given = false
		return a
	}
	if !l.given && l.stray && l.failures > 0 && r.passed.After(l.since) {
		r.countFailed(l, now)
		l.given = l.strayed >= r.o.Patience
	}
	if l.given && r.passed.After(l.tried) {
		a.verdict = refused
	}
	return a
}

func (r *run) accepted(done result, now time.Time) {
	l, events := done.lane, done.request.events
	r.alive(now)
	r.passed = now
	r.alone = 0
	clear(r.refused)
	if l.clears(events) {
		r.sink.sizes.learn(now, l.sized.part, l.sized.by, l.sized.cause)
	}
	most := r.sink.sizes.at(now)
	if s := sizeOf(events); l.sized.passed(s.events == most.events || 2*s.bytes >= most.bytes) {
		r.sink.sizes.learn(now, s, eventsOrBytes, l.sized.cause)
	}
	r.unpark(l, now)
	if r.unsure { // others may fail: they are parked
		r.unsure = false
		r.feed.Report(nil)
	}
	l.accept(most.events)
	if !l.foreign() {
		r.gaps.acknowledged(l.id, done.request.gaps, events)
	}
	if r.feed.Fill() {
		r.release(l.id)
	}
	r.drop(l, len(events), now)
}

// alive notes that the endpoint answers. After an outage every parked session
// that was not told a time is due at once; the breaker spreads them.
func (r *run) alive(now time.Time) {
	if !r.breaker.answered(now) {
		return
	}
	for _, l := range r.waiting {
		if !l.told {
			l.due = now
		}
	}
	heap.Init(&r.waiting)
}

// park puts a lane aside until its next try: the same events again, as
// nobody knows what became of them.
func (r *run) park(l *lane, n int, a answer, now time.Time) {
	r.touch(now)
	if l.failures == 0 {
		r.parked[l] = struct{}{}
		l.since, l.failed, l.counted, l.outage = now, 0, now, r.breaker.outage(now)
	}
	r.countFailed(l, now)
	if !l.stray || l.failures == 0 {
		l.strayed = 0
	}
	l.astray, l.stray = a.stray, a.refusal
	l.failures++
	l.repeat, l.cause = n, a.err.Error()
	if !a.sized {
		l.sized.tries = 0
	} else if l.repeat = l.sized.failed(n, l.cause); l.repeat < n {
		l.backoff.Reset()
	}
	l.told = a.retryAfter > 0
	l.due = now.Add(max(l.backoff.Next(), a.retryAfter))
	if !r.feed.Fill() {
		r.troubles.changed[l.id] = l
	}
	r.report(l, a)
	if r.tooOld(l) {
		r.setAside(l, now)
		return
	}
	heap.Push(&r.waiting, l)
}

// report tells operators of a failure, if it is more than this session's: no
// connection comes about, many fail, or nothing else has been taken since.
func (r *run) report(l *lane, a answer) {
	l.alone = l.alone || r.passed.After(l.since)
	switch {
	case a.down:
		r.feed.Report(a.err)
	case r.breaker.open || l.failures > 1 && !l.alone:
		r.feed.Report(fmt.Errorf("session %q of project %q: %w", l.key.session, l.key.project, a.err))
	default:
		if l.failures == parkedTold {
			r.o.Logger.Warn("a session fails while others are delivered: it waits and is tried again by itself",
				"project", l.key.project, "session", l.key.session, "since", l.since, "next_try", l.due, "err", a.err)
		}
		return
	}
	r.unsure = true
}

// unpark notes that a session's request was answered.
func (r *run) unpark(l *lane, now time.Time) {
	if l.failures == 0 {
		return
	}
	r.touch(now)
	delete(r.parked, l)
	l.failures, l.told, l.alone = 0, false, false
	l.backoff.Reset()
	if !r.feed.Fill() {
		r.troubles.changed[l.id] = l
	}
}

// refuse looks for the event that a request of n was refused for, and buries
// it once it is found. While the search goes on nothing is known to be wrong
// with any: it may be the size.
func (r *run) refuse(l *lane, n int, a answer) {
	reason := a.err.Error()
	if !l.refuse(n) {
		l.sized.by, l.sized.cause = a.by, reason
		r.ready.push(l)
		return
	}
	r.refused[l.id] = struct{}{}
	if r.alone++; r.alone >= refusedInARow && len(r.refused) >= refusedOf {
		r.ready.push(l)
		r.stop(&shipper.PauseError{
			Reason: fmt.Sprintf("the Session Manager refused %d events of %d sessions in a row: see whether shippers.session.url is right and what it answers, then resume", r.alone, len(r.refused)),
			Err:    a.err,
		})
		return
	}
	if a.excerpt != "" {
		reason += ": " + a.excerpt
	}
	r.bury(l, 1, reason)
}
