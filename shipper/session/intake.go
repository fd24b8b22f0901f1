package session

import (
	"container/heap"
	"errors"
	"io"
	"strings"
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
	r.next = b.Last + 1
	if len(b.Lost) > 0 {
		r.gaps.addLost(b.Batch, now)
	}
	var l *lane
	for i, e := range b.events {
		key := laneKey{b.Events[i].Project, b.Events[i].Session}
		if l == nil || l.key != key || len(l.queue) == 0 {
			if l = r.lanes[key]; l == nil {
				l = &lane{key: key, id: header.NewSessionID(key.project, key.session)}
			}
		}
		decided := e.seq < r.feed.Start() || r.marks.delivered(l.id, e.seq)
		if r.feed.Fill() && !decided { // after a rewind: the log's feed will bring it, in order
			if r.left == 0 {
				r.left = e.seq
			}
			continue
		}
		if !r.feed.Fill() && decided {
			continue
		}
		l.queue = append(l.queue, e)
		r.held += e.held()
		if len(l.queue) == 1 {
			r.open(l, now)
		}
	}
}

// open enters a lane that has its first event.
func (r *run) open(l *lane, now time.Time) {
	l.key = laneKey{strings.Clone(l.key.project), strings.Clone(l.key.session)}
	r.lanes[l.key] = l
	heap.Push(&r.byFirst, l)
	if r.troubles.restore(l); l.failures > 0 {
		r.parked++
		l.due, l.outage = now, r.breaker.outage(now)
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
	l.pop(n)
	if len(l.queue) > 0 {
		r.byFirst.moved(l)
		r.enqueue(l)
		return
	}
	heap.Remove(&r.byFirst, l.place)
	delete(r.lanes, l.key)
}
