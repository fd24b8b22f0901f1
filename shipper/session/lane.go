package session

import (
	"container/heap"
	"time"

	"forebay/shipper"
	"forebay/shipper/session/header"
	"forebay/wal"
)

// eventOverhead is what an event in memory is counted as beyond its bytes.
const eventOverhead = 64

// event is one event in memory.
type event struct {
	seq    uint64
	raw    []byte
	origin *origin
}

// origin is what events of one accepted request have in common.
type origin struct {
	logID      wal.ID
	receivedAt time.Time
	sdkVersion string
	appID      string
	foreign    bool // of another log, see shipper.Event
}

func originOf(e *shipper.Event) origin {
	return origin{logID: e.LogID, receivedAt: e.ReceivedAt, sdkVersion: e.SDKVersion, appID: e.AppID, foreign: e.Foreign}
}

// laneKey names a session: whose order a lane keeps.
type laneKey struct{ project, session string }

// lane is one session with events that have not been delivered. It exists
// only as long as it has any, and belongs to the goroutine of run.loop; while
// busy, the worker that has it may read the events it was given.
//
//	        take                  dispatch
//	(none) ─────▶ ready ──────────────────────▶ busy ──▶ ready, or gone when empty
//	                ▲                            │
//	                └──── due ◀── waiting ◀──────┘ failed
type lane struct {
	key   laneKey
	id    header.SessionID
	queue []event // undelivered, ascending; never empty outside run's methods
	place int     // in run.byFirst
	slot  int     // in run.waiting, if waiting

	// While a session fails it is parked: known, counted and retried.
	failures int           // failed tries since it last worked; 0: not parked
	since    time.Time     // of the first of them
	failed   time.Duration // how long it has failed in all, until counted
	counted  time.Time
	outage   time.Duration // how long the endpoint had been down by then
	cause    string
	alone    bool // it failed while others were taken: that says nothing of the endpoint
	backoff  shipper.Backoff
	due      time.Time // of the next try
	told     bool      // due is what the receiver asked for
	repeat   int       // >0: the outcome for this many events is unknown, and exactly they go again

	// While a 4xx is traced to its event.
	tries    int    // requests that the first event was in
	limit    int    // >0: at most this many events in a request
	suspects uint64 // the refused event is at or below this seq; 0: there is none
	sized    sized  // whether there is one, or the size was refused

	// While answers say that the endpoint is not where it should be.
	astray  bool          // the last was such a one: nothing was taken
	stray   bool          // and one that may become a refusal
	strayed time.Duration // for how long there were no others, counted as failed is
	given   bool          // that was long enough: it is about the events
	tried   time.Time     // when the last answer came

	letters int    // >0: this many events from the front are being buried
	reason  string // why
}

// stretch is consecutive events of one session.
type stretch struct {
	key    laneKey
	id     header.SessionID
	events []event
}

// newStretches sorts the events of a batch, which may be reused afterwards.
func newStretches(b *shipper.Batch) []stretch {
	var all []stretch
	var from *origin
	events := make([]event, len(b.Events))
	for i, first := 0, 0; i < len(b.Events); i++ {
		e := &b.Events[i]
		if o := originOf(e); from == nil || *from != o {
			kept := o // by itself, so that an event of the same origin allocates none
			from = &kept
		}
		events[i] = event{seq: e.Seq, raw: e.Raw, origin: from}
		if i+1 < len(b.Events) && b.Events[i+1].Session == e.Session && b.Events[i+1].Project == e.Project {
			continue
		}
		all = append(all, stretch{
			key: laneKey{e.Project, e.Session}, id: header.NewSessionID(e.Project, e.Session),
			events: events[first : i+1 : i+1],
		})
		first = i + 1
	}
	return all
}

func (e event) held() int64 { return int64(len(e.raw)) + eventOverhead }

// letter is the dead letter of the event.
func (l *lane) letter(e event, reason string, attempts int) shipper.DeadLetter {
	return shipper.NewDeadLetter(shipper.Event{
		Seq: e.seq, LogID: e.origin.logID, ReceivedAt: e.origin.receivedAt,
		Project: l.key.project, Session: l.key.session,
		SDKVersion: e.origin.sdkVersion, AppID: e.origin.appID, Raw: e.raw,
	}, reason, attempts)
}

// foreign tells whether the next event is of another log.
func (l *lane) foreign() bool { return l.queue[0].origin.foreign }

// first is the lowest seq that has not been delivered.
func (l *lane) first() uint64 { return l.queue[0].seq }

// pop takes the first n events off the queue.
func (l *lane) pop(n int) {
	clear(l.queue[:n]) // lets go of their bytes
	l.queue = l.queue[n:]
	l.repeat, l.tries = 0, 0
	if len(l.queue) > 0 && l.suspects < l.first() {
		l.suspects = 0
	}
}

// refuse narrows the search for the event that a request of n was refused
// for. It returns true once it is found: the first.
func (l *lane) refuse(n int) (found bool) {
	l.repeat = 0
	if n == 1 {
		l.limit, l.suspects = 1, 0
		return true
	}
	l.limit, l.suspects, l.sized.part = n/2, l.queue[n-1].seq, size{}
	return false
}

// clears tells whether a request of these events, which passed, was the last
// part of one that had been refused. If so no event was to blame.
func (l *lane) clears(events []event) bool {
	if l.suspects == 0 {
		return false
	}
	if s := sizeOf(events); s.events > l.sized.part.events {
		l.sized.part = s
	}
	return events[len(events)-1].seq >= l.suspects
}

// accept widens again after a request was accepted.
func (l *lane) accept(most int) {
	if l.limit *= 2; l.limit >= most {
		l.limit = 0
	}
}

// batch is how many events from the front go into one request: of one log,
// all before or all after the end of a replay, with no lost seqs between. What
// has to go again as it was does so, unless it has turned out to be too large.
func (l *lane) batch(most size, replay uint64, lost header.Ranges) int {
	n := l.repeat
	if s := sizeOf(l.queue[:n]); n > 0 && (n == 1 || s.events <= most.events && s.bytes <= most.bytes) {
		return n
	}
	if n = l.fit(most, replay, lost); l.repeat > 0 {
		n = min(n, l.repeat)
	}
	return n
}

func (l *lane) fit(limit size, replay uint64, lost header.Ranges) int {
	most := limit.events
	if l.limit > 0 {
		most = min(most, l.limit)
	}
	if l.suspects > 0 {
		n := 0
		for n < len(l.queue) && l.queue[n].seq <= l.suspects {
			n++
		}
		most = min(most, (n+1)/2)
	}
	bytes := 0
	for i, e := range l.queue[:min(most, len(l.queue))] {
		bytes += len(e.raw)
		if i == 0 {
			continue
		}
		before := l.queue[i-1]
		if bytes > limit.bytes || e.origin.logID != before.origin.logID || e.origin.foreign != before.origin.foreign ||
			(e.seq <= replay) != (before.seq <= replay) || len(lost.From(before.seq).Below(e.seq)) > 0 {
			return i
		}
	}
	return min(most, len(l.queue))
}

// byFirst is the lanes as a heap by their first seq: its top is the low
// watermark.
type byFirst []firstOf

// firstOf is a lane and its first seq, beside it for speed.
type firstOf struct {
	seq  uint64
	lane *lane
}

func (h byFirst) Len() int           { return len(h) }
func (h byFirst) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h byFirst) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].lane.place, h[j].lane.place = i, j
}
func (h *byFirst) Push(x any) {
	l := x.(*lane)
	l.place = len(*h)
	*h = append(*h, firstOf{l.first(), l})
}
func (h *byFirst) Pop() any {
	old := *h
	l := old[len(old)-1].lane
	old[len(old)-1] = firstOf{}
	*h = old[:len(old)-1]
	return l
}

// moved puts a lane whose first seq has changed in its place.
func (h *byFirst) moved(l *lane) {
	(*h)[l.place].seq = l.first()
	heap.Fix(h, l.place)
}

// byDue is the waiting lanes as a heap by when they are due.
type byDue []*lane

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}
func (h *byDue) Push(x any) {
	l := x.(*lane)
	l.slot = len(*h)
	*h = append(*h, l)
}
func (h *byDue) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}

// fifo is the ready lanes, served in turn.
type fifo struct {
	lanes []*lane
	head  int
}

func (q *fifo) len() int { return len(q.lanes) - q.head }

func (q *fifo) push(l *lane) { q.lanes = append(q.lanes, l) }

func (q *fifo) pop() *lane {
	l := q.lanes[q.head]
	q.lanes[q.head] = nil
	q.head++
	if q.head > 1024 && q.head > len(q.lanes)/2 {
		n := copy(q.lanes, q.lanes[q.head:])
		clear(q.lanes[n:])
		q.lanes, q.head = q.lanes[:n], 0
	}
	return l
}

var (
	_ heap.Interface = (*byFirst)(nil)
	_ heap.Interface = (*byDue)(nil)
)
