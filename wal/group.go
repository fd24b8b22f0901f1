package wal

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Entry is what one Append stores.
type Entry struct {
	Data    []byte   // opaque; copied before Append waits
	Events  int      // how many seqs it takes, at least 1
	Digests []uint64 // keyed digests of its idempotency keys; they go into the block header, 65,536 at most
}

// group is a set of entries that become durable together, as one block.
type group struct {
	payload []byte
	size    int      // of the payload
	chunks  []*chunk // the payload's beginning, being compressed
	chunked int      // how much of the payload that is
	digests []uint64
	entries int
	events  int

	done  chan struct{} // closed once first and err are set
	first uint64
	err   error
}

// fits reports whether an entry may join the group.
func (g *group) fits(e *Entry, maxBytes int) bool {
	return len(g.payload)+len(e.Data)+maxEntryFrame <= maxBytes &&
		len(g.digests)+len(e.Digests) <= maxBlockDigests &&
		g.events+e.Events <= maxBlockEvents
}

// add appends an entry and returns where its first event stands in the group.
func (g *group) add(e *Entry) int {
	at := g.events
	g.payload = appendEntryFrame(g.payload, e.Events, e.Data)
	g.size = len(g.payload)
	g.digests = append(g.digests, e.Digests...)
	g.entries++
	g.events += e.Events
	return at
}

// nextChunk returns what of the payload is in no chunk yet, if that is enough for
// one.
func (g *group) nextChunk() *chunk {
	raw := g.payload[g.chunked:]
	if len(raw) < minChunk {
		return nil
	}
	c := &chunk{raw: raw, done: make(chan struct{})}
	g.chunks = append(g.chunks, c)
	g.chunked = len(g.payload)
	return c
}

// maxSpareGroups is how many groups' buffers are kept for reuse.
const maxSpareGroups = 2

// queue holds the groups that wait for the committer. The last one is open: new
// entries join it until the committer takes it.
type queue struct {
	compressor *compressor
	maxBlock   int
	maxPending int64
	ready      chan struct{} // a group may be waiting

	mu       sync.Mutex
	groups   []*group
	spare    []*group
	pending  int64 // bytes of payload that wait, or are being committed
	closed   error // why no more entries are taken; nil while they are
	rejected uint64
}

func newQueue(o *Options) (*queue, error) {
	compressor, err := newCompressor(o.Compression)
	return &queue{
		compressor: compressor,
		maxBlock:   o.MaxBlockBytes,
		maxPending: o.MaxPendingBytes,
		ready:      make(chan struct{}, 1),
	}, err
}

// place is where an entry was put.
type place struct {
	group *group
	at    int    // where in the group its first event stands
	opens bool   // it is the group's first entry: the committer is to be woken
	chunk *chunk // what it completes, to be compressed; nil if nothing
}

// add puts an entry into the open group.
func (q *queue) add(e *Entry) (place, error) {
	p, err := q.copyIn(e)
	if p.chunk != nil {
		q.compressor.compress(p.chunk)
	}
	return p, err
}

// copyIn copies an entry into the open group.
func (q *queue) copyIn(e *Entry) (p place, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return p, q.closed
	}
	if q.pending+int64(len(e.Data)) > q.maxPending && q.pending > 0 {
		q.rejected++
		return p, ErrOverloaded
	}
	n := len(q.groups)
	if n == 0 || !q.groups[n-1].fits(e, q.maxBlock) {
		q.groups = append(q.groups, q.newGroup())
		n++
		p.opens = true
	}
	p.group = q.groups[n-1]
	before := len(p.group.payload)
	p.at = p.group.add(e)
	q.pending += int64(len(p.group.payload) - before)
	if q.compressor.compression != CompressionNone {
		p.chunk = p.group.nextChunk()
	}
	return p, nil
}

// signal wakes the committer's goroutine.
func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// waiting reports whether there is a group that nobody has taken.
func (q *queue) waiting() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.groups) > 0
}

func (q *queue) newGroup() *group {
	g := &group{}
	if n := len(q.spare); n > 0 {
		g, q.spare = q.spare[n-1], q.spare[:n-1]
	}
	g.done = make(chan struct{})
	return g
}

// take removes the oldest group, or returns nil.
func (q *queue) take() *group {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.groups) == 0 {
		return nil
	}
	g := q.groups[0]
	n := copy(q.groups, q.groups[1:])
	q.groups[n] = nil
	q.groups = q.groups[:n]
	return g
}

// finish wakes a group's waiters.
func (q *queue) finish(g *group, first uint64, err error) {
	for _, c := range g.chunks {
		<-c.done // reads the payload, which is used again
	}
	g.first, g.err = first, err
	close(g.done)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending -= int64(g.size)
	if len(q.spare) < maxSpareGroups {
		// Waiters hold the group itself, so only its buffers are used again.
		q.spare = append(q.spare, &group{payload: g.payload[:0], digests: g.digests[:0]})
	}
	g.payload, g.digests, g.chunks = nil, nil, nil
}

// refuse has further entries refused with err; nil takes them again, unless the
// log is closed.
func (q *queue) refuse(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != ErrClosed {
		q.closed = err
	}
}

// unavailable returns the error that refuses entries during a recovery, if
// there is one.
func (q *queue) unavailable() *UnavailableError {
	q.mu.Lock()
	defer q.mu.Unlock()
	u, _ := q.closed.(*UnavailableError)
	return u
}

// load returns the bytes that wait and how many entries were refused for them.
func (q *queue) load() (pending int64, rejected uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending, q.rejected
}

// Append stores an entry and returns its first seq; the entry has the seqs
// first to first+Events-1. When it returns without error the entry is durable:
// written and synced (with Options.SyncInterval, only written).
//
// Entries that are appended at the same time share one write and one sync; an
// entry that is alone is not made to wait for others. Append is safe for
// concurrent use.
//
// When ctx ends first, Append returns ctx's error and the entry may or may not
// become durable. An Append that commits its own block, as a lone one does,
// notices the end of ctx only when the disk has answered. Other errors mean that
// the entry is not in the log: ErrOverloaded, ErrTooLarge, ErrClosed, and
// *UnavailableError after a failed write or sync.
// One exception: if the process dies while the log is unavailable, an entry
// whose write had reached the file but whose sync failed can be there after
// the restart, like any entry that is on its way when a process dies.
func (l *Log) Append(ctx context.Context, e Entry) (first uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	switch {
	case e.Events < 1:
		return 0, fmt.Errorf("wal: an entry takes at least one seq, not %d", e.Events)
	case e.Events > maxBlockEvents, len(e.Data) > l.opts.MaxBlockBytes, len(e.Digests) > maxBlockDigests:
		return 0, ErrTooLarge
	}
	l.appending.Add(1)
	defer l.appending.Add(-1)
	p, err := l.queue.add(&e)
	if err != nil {
		return 0, err
	}
	if p.opens {
		l.committer.wake()
	}
	g := p.group
	select {
	case <-g.done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if g.err != nil {
		return 0, g.err
	}
	return g.first + uint64(p.at), nil
}

// newUnavailable makes the error for appends while the log recovers.
func newUnavailable(cause error, since time.Time) *UnavailableError {
	return &UnavailableError{Cause: cause, Since: since}
}
