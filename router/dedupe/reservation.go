package dedupe

import (
	"context"
	"errors"
)

// ErrReserved is returned by Wait while the reservation's own keys are neither
// committed nor released.
var ErrReserved = errors.New("dedupe: commit or release the own keys before waiting for others")

// Outcome is what became of one key of a reservation.
type Outcome uint8

// The outcomes. Wait turns each Held into Duplicate or Failed.
const (
	Free      Outcome = iota // not seen before: reserved by this reservation
	Duplicate                // stored before, or earlier in the same reservation
	Held                     // reserved by another request in flight
	Failed                   // that request did not store it, so this one fails too
)

// Reservation is one request's hold on its keys. It is used by one goroutine.
type Reservation struct {
	window   *Window
	outcomes []Outcome
	reserved []uint64 // the Free ones
	held     []hold
	state    reservationState
	done     chan struct{} // made for the first reservation that may wait for this one
}

// hold is a key that another reservation has.
type hold struct {
	index int
	by    *Reservation
}

type reservationState uint8

const (
	pending reservationState = iota
	committed
	released
)

// Reserve takes all keys that nobody has, at once. Digests stand for a request's
// events, one each, NoKey for an event without a key. The caller must end the
// reservation with Commit or Release, whatever happens.
func (w *Window) Reserve(digests []uint64) *Reservation {
	r := &Reservation{window: w, outcomes: make([]Outcome, len(digests))}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expire()
	w.seen.fetch(digests)
	for i, d := range digests {
		r.outcomes[i] = w.reserve(r, i, d)
	}
	return r
}

func (w *Window) reserve(r *Reservation, index int, digest uint64) Outcome {
	if digest == NoKey {
		return Free
	}
	if w.seen.has(digest) {
		return Duplicate
	}
	holder := w.inFlight[digest]
	switch holder {
	case nil:
		w.inFlight[digest] = r
		if r.reserved == nil {
			r.reserved = make([]uint64, 0, len(r.outcomes)-index)
		}
		r.reserved = append(r.reserved, digest)
		return Free
	case r:
		return Duplicate
	}
	if holder.done == nil {
		holder.done = make(chan struct{})
	}
	r.held = append(r.held, hold{index: index, by: holder})
	return Held
}

// Outcomes tells for each digest given to Reserve what became of it. Wait
// changes the slice in place.
func (r *Reservation) Outcomes() []Outcome { return r.outcomes }

// Reserved are the digests of the Free keys, for the log's block header.
func (r *Reservation) Reserved() []uint64 { return r.reserved }

// Commit says that the Free events are durable: from now on their keys are
// duplicates. Only the first call of Commit or Release does anything.
func (r *Reservation) Commit() { r.end(committed) }

// Release gives the keys back, for a retry to take. Call it only if the events
// are certainly not in the log; where that is not known, Commit is the safe call.
// Only the first call of Commit or Release does anything.
func (r *Reservation) Release() { r.end(released) }

func (r *Reservation) end(state reservationState) {
	w := r.window
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.state != pending {
		return
	}
	r.state = state
	now := w.now()
	if state == committed {
		w.seen.fetch(r.reserved)
		w.seen.fetch(w.first().front(w.loaded.count + w.live.count + len(r.reserved) - w.maxKeys)) // to be forgotten
	}
	for _, d := range r.reserved {
		delete(w.inFlight, d)
		if state == committed {
			w.remember(&w.live, d, now)
		}
	}
	if r.done != nil {
		close(r.done)
	}
}

// Wait waits for the requests that hold keys of this one. Each Held outcome
// becomes Duplicate if the other request stored the event, and Failed if it did
// not: then this event is not stored either, and its sender has to try again.
// It needs Commit or Release first, unless nothing was reserved; otherwise
// ErrReserved. If ctx ends first its error is returned and the rest stays Held.
func (r *Reservation) Wait(ctx context.Context) error {
	if len(r.held) == 0 {
		return nil
	}
	if r.state == pending && len(r.reserved) > 0 {
		return ErrReserved
	}
	for _, h := range r.held {
		select {
		case <-h.by.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		// The holder's state was set before its channel was closed.
		if h.by.state == committed {
			r.outcomes[h.index] = Duplicate
		} else {
			r.outcomes[h.index] = Failed
		}
	}
	return nil
}
