package session

import (
	"container/heap"
	"errors"
	"io"
	"slices"
	"time"

	"forebay/shipper/session/header"
)

// take puts a batch of the feed into the lanes.
func (r *run) take(b batch, now time.Time) {
	if errors.Is(b.err, io.EOF) {
		r.eof = true
		return
	}
	if b.err != nil {
		r.stop(b.err)
		return
	}
	r.touch(now)
	r.next = b.last + 1
	if len(b.lost) > 0 {
		r.gaps.addLost(b.lost)
		r.missing = append(r.missing, b.lost...)
	}
	for i := range b.stretches {
		r.takeStretch(&b.stretches[i], now)
	}
}

func (r *run) takeStretch(s *stretch, now time.Time) {
	events := s.events
	if r.feed.Fill() {
		events = r.untilRewind(s)
	} else {
		for len(events) > 0 && r.done(s.id, events[0].seq) {
			events = events[1:]
		}
	}
	if len(events) == 0 {
		return
	}
	for _, e := range events {
		r.held += e.held()
	}
	r.queued += len(events)
	l := r.lanes[s.key]
	if l != nil {
		l.queue = append(l.queue, events...)
		return
	}
	// A copy: one lane that waits must not keep the whole batch in memory.
	r.open(&lane{key: s.key, id: s.id, queue: slices.Clone(events)}, now)
}

// done says that an event was decided before: it is below the position where
// this epoch began, or was delivered before a restart.
func (r *run) done(id header.SessionID, seq uint64) bool {
	return seq < r.feed.Start() || r.marks.delivered(id, seq)
}

// untilRewind is what a fill sends of a stretch: the letters that are decided.
// After a rewind the log's feed brings the others again, in order. A letter of
// another log is always decided here; behind one that is left it waits, since it
// could not be dropped and would be sent again with each fill.
func (r *run) untilRewind(s *stretch) []event {
	for n, e := range s.events {
		if e.origin.foreign && r.left == 0 || !e.origin.foreign && r.done(s.id, e.seq) {
			continue
		}
		if r.left == 0 {
			r.left = e.seq
		}
		return s.events[:n]
	}
	return s.events
}

// open enters a lane that has its first event.
func (r *run) open(l *lane, now time.Time) {
	r.lanes[l.key] = l
	heap.Push(&r.byFirst, l)
	if r.troubles.restore(l); l.failures > 0 {
		r.parked[l] = struct{}{}
		l.due, l.counted, l.outage = now, now, r.breaker.outage(now)
		heap.Push(&r.waiting, l)
		return
	}
	r.enqueue(l)
}

// enqueue lets a lane have its turn.
func (r *run) enqueue(l *lane) {
	if r.queues(l) {
		r.bury(l, min(len(l.queue), maxLetters), asideReason(r.troubles.aside[l.id]))
		return
	}
	r.ready.push(l)
}

// drop takes the first n events off a lane, done with for good.
func (r *run) drop(l *lane, n int, now time.Time) {
	r.touch(now)
	if !r.feed.Fill() {
		r.marks.set(l.id, l.queue[n-1].seq)
	}
	for _, e := range l.queue[:n] {
		r.held -= e.held()
	}
	r.queued -= n
	r.feed.Delivered(n)
	l.pop(n)
	if len(l.queue) > 0 {
		r.byFirst.moved(l)
		r.enqueue(l)
		return
	}
	heap.Remove(&r.byFirst, l.place)
	delete(r.lanes, l.key)
}
