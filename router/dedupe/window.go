// Package dedupe keeps an event from being stored twice when its sender repeats
// it: it remembers, for a window of time, the idempotency keys of what is in the
// log.
//
// A request's keys are reserved before its events are appended, and only once
// those are durable do they count as seen, so a failed append never swallows the
// retry that follows it:
//
//	r := window.Reserve(digests)       // each: Free, Duplicate or Held
//	_, err := log.Append(ctx, …)       // the Free ones, with r.Reserved()
//	r.Commit() or r.Release()          // durable, or certainly not stored
//	err = r.Wait(ctx)                  // each Held one: now Duplicate or Failed
//
// Held means that another request in flight has reserved the key. A request
// waits for others only after it has let go of its own keys, so requests never
// wait in a circle.
//
// Keys are remembered as 64-bit digests, made by a Hasher, in at most 32 bytes
// each. After a restart the window is filled again from the digests in the log's
// block headers: first from those of its end (LoadNewest), before the first
// request, and beside everything else from the others (Load); until that is done
// a repeat of something older than the end is stored twice, and counted in Stats.
package dedupe

import (
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultWindow  = 24 * time.Hour
	DefaultMaxKeys = 1_000_000
)

// NoKey in place of a digest stands for an event without an idempotency key: it
// is always Free and never remembered.
const NoKey uint64 = 0

// Options set a Window up. A zero field takes its default.
type Options struct {
	Window  time.Duration // how long a key is remembered
	MaxKeys int           // how many; past it the oldest are forgotten
	Rebuild bool          // the log holds older keys: Load follows, then Loaded
}

// Window remembers keys. It is safe for concurrent use. Every call is short: one
// lock is held for some 50 ns a key, and for each key that expires meanwhile.
type Window struct {
	window  int64 // nanoseconds
	maxKeys int
	start   time.Time

	mu         sync.Mutex
	inFlight   map[uint64]*Reservation
	seen       set               // digests in live or loaded
	loaded     queue             // from the log, older than all of live
	live       queue             // from the end of the log, and committed since
	extra      map[uint64]uint32 // entries beyond the first of a digest in the queues
	retained   int64             // the log holds nothing from before this time
	crowdedOut int64             // up to this time keys were forgotten for want of room
	rebuilding bool
	repeats    uint64
}

// New makes an empty window.
func New(opts Options) *Window {
	if opts.Window <= 0 {
		opts.Window = DefaultWindow
	}
	if opts.MaxKeys <= 0 {
		opts.MaxKeys = DefaultMaxKeys
	}
	grain := opts.Window.Nanoseconds() / marksPerWindow
	return &Window{
		window:     opts.Window.Nanoseconds(),
		maxKeys:    opts.MaxKeys,
		start:      time.Now(),
		inFlight:   make(map[uint64]*Reservation),
		loaded:     queue{grain: grain},
		live:       queue{grain: grain},
		extra:      make(map[uint64]uint32),
		rebuilding: opts.Rebuild,
	}
}

// Load remembers keys that were committed at a time before the window was made,
// as they stand in a block of the log. Blocks come in the log's order; digests
// is not kept. It may run beside everything else.
func (w *Window) Load(at time.Time, digests []uint64) { w.load(&w.loaded, at, digests) }

// LoadNewest is Load for the end of the log, before anything is reserved: what
// came last before a stop is what senders repeat first. All that is given to
// Load afterwards is older.
func (w *Window) LoadNewest(at time.Time, digests []uint64) { w.load(&w.live, at, digests) }

func (w *Window) load(q *queue, at time.Time, digests []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire()
	t := at.UnixNano()
	if t < w.oldest() {
		return
	}
	for _, d := range digests {
		if d != NoKey {
			w.remember(q, d, t)
		}
	}
}

// Loaded ends the rebuild: all that the log holds has been given to Load.
func (w *Window) Loaded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rebuilding = false
}

// Retain forgets keys from before oldest, the time of the first block that the
// log still holds: a restart would not find them, so no promise is made on them.
// A zero time, or an earlier one than before, changes nothing.
func (w *Window) Retain(oldest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !oldest.IsZero() {
		w.retained = max(w.retained, oldest.UnixNano())
	}
	w.expire()
}

// Stats is the window's condition.
type Stats struct {
	Keys       int           // keys remembered
	InFlight   int           // keys reserved and neither committed nor released
	Effective  time.Duration // a key accepted within this time is certain to be recognised
	Rebuilding bool          // Loaded is still to come
	Repeats    uint64        // keys found to have been stored twice, around a rebuild
	Bytes      int64         // memory that holds the keys, those in flight aside
}

// Stats reads the window's condition.
func (w *Window) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire()
	certain := max(w.oldest(), w.crowdedOut+1)
	if w.rebuilding {
		certain = max(certain, w.start.UnixNano())
	}
	return Stats{
		Keys:       w.seen.count,
		InFlight:   len(w.inFlight),
		Effective:  time.Duration(max(0, w.now()-certain)),
		Rebuilding: w.rebuilding,
		Repeats:    w.repeats,
		Bytes:      w.seen.bytes() + w.loaded.bytes() + w.live.bytes(),
	}
}

// Now is the time by which the window counts.
func (w *Window) Now() time.Time { return time.Unix(0, w.now()) }

// now is the wall clock as it was at the start, moved on by the monotonic clock:
// a jump of the wall clock must not expire keys.
func (w *Window) now() int64 {
	return w.start.UnixNano() + time.Since(w.start).Nanoseconds()
}

// oldest is the time from which on keys are remembered if there is room.
func (w *Window) oldest() int64 { return max(w.now()-w.window, w.retained) }

// remember adds an entry, and forgets the oldest one if there are too many.
func (w *Window) remember(q *queue, digest uint64, at int64) {
	if !w.seen.add(digest) {
		w.extra[digest]++
		w.repeats++
	}
	q.push(digest, at)
	for w.loaded.count+w.live.count > w.maxKeys {
		oldest := w.first()
		w.crowdedOut = max(w.crowdedOut, oldest.latest())
		w.forget(oldest)
	}
}

// expire forgets what is older than the window or no longer in the log.
func (w *Window) expire() {
	for oldest := w.oldest(); ; {
		q := w.first()
		if q.count == 0 || q.latest() >= oldest {
			return
		}
		w.forget(q)
	}
}

// first is the queue that holds the oldest entry: all of loaded is older than live.
func (w *Window) first() *queue {
	if w.loaded.count > 0 {
		return &w.loaded
	}
	return &w.live
}

func (w *Window) forget(q *queue) {
	digest := q.pop()
	switch n := w.extra[digest]; n {
	case 0:
		w.seen.remove(digest)
	case 1:
		delete(w.extra, digest)
	default:
		w.extra[digest] = n - 1
	}
}
