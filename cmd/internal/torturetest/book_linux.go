package torturetest

import (
	"fmt"
	"sync"
)

// maxProblems bounds what is described; a broken run breaks in thousands of places.
const maxProblems = 40

// book is the driver's own record of what the node has promised, and of what it has broken itself.
type book struct {
	mu        sync.Mutex
	seqs      map[uint64]string   // seq -> idempotency key, as receipts said
	keys      map[string]uint64   // accepted keys -> seq; 0 if the receipt was lost and a repeat was answered
	condemned map[uint64]struct{} // seqs whose bytes were damaged
	problems  []string
	count     int // of problems
}

func newBook() *book {
	return &book{seqs: map[uint64]string{}, keys: map[string]uint64{}, condemned: map[uint64]struct{}{}}
}

// problem notes a broken promise.
func (b *book) problem(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problemLocked(format, args...)
}

func (b *book) problemLocked(format string, args ...any) {
	if b.count++; b.count <= maxProblems {
		b.problems = append(b.problems, fmt.Sprintf(format, args...))
	}
}

// accepted notes a receipt.
func (b *book) accepted(seq uint64, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if other, twice := b.seqs[seq]; twice && other != key {
		b.problemLocked("seq %d was given to %s and to %s", seq, other, key)
	}
	if _, gone := b.condemned[seq]; gone {
		b.problemLocked("seq %d, which was damaged on disk, was given out again, to %s", seq, key)
	}
	if before := b.keys[key]; before != 0 && before != seq {
		b.problemLocked("event %s was accepted as seq %d and as seq %d", key, before, seq)
	}
	b.seqs[seq], b.keys[key] = key, seq
}

// repeated notes that the node knows a key: it has accepted the event before, and the receipt was lost.
func (b *book) repeated(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.keys[key]; !known {
		b.keys[key] = 0
	}
}

// condemn notes that the bytes of events were damaged; known is seq -> key of all that the log held.
func (b *book) condemn(first, last uint64, known map[uint64]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for seq := first; seq <= last; seq++ {
		b.condemned[seq] = struct{}{}
		delete(b.seqs, seq)
		if key := known[seq]; b.keys[key] == seq || b.keys[key] == 0 {
			delete(b.keys, key)
		}
	}
}

func (b *book) isCondemned(seq uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, yes := b.condemned[seq]
	return yes
}

// totals are for the log line of a run.
func (b *book) totals() (accepted, damaged int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.keys), len(b.condemned)
}
