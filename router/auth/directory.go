package auth

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// MaxKeys is the largest number of keys that a directory takes, about 200 MB.
const MaxKeys = 1_000_000

// Directory is the set of keys in memory. Lookups take no lock and wait for
// nothing; a Source replaces the set as a whole. It is safe for concurrent use.
type Directory struct {
	maxStale atomic.Int64 // a time.Duration
	writing  sync.Mutex   // held by Replace and Confirm, never by Lookup
	current  atomic.Pointer[snapshot]
}

// snapshot is immutable once it is published.
type snapshot struct {
	keys      []Key
	first     map[uint64]int32 // digest prefix → one key that has it
	next      []int32          // for each key: another with its prefix, or -1
	refreshed time.Time        // when the source last said that this is the set
}

// NewDirectory makes an empty directory. Once its source has not confirmed the
// set for maxStale, every lookup fails, since keys may have been revoked
// meanwhile; 0 means that age does not matter.
func NewDirectory(maxStale time.Duration) *Directory {
	d := &Directory{}
	d.SetMaxStale(maxStale)
	d.current.Store(&snapshot{})
	return d
}

// SetMaxStale changes how long the set may go unconfirmed.
func (d *Directory) SetMaxStale(maxStale time.Duration) { d.maxStale.Store(int64(maxStale)) }

// Lookup returns the key with this digest. Known is false if there is none or
// the set is stale. A revoked or expired key is known: Key.State tells.
func (d *Directory) Lookup(digest Digest) (key Key, known bool) {
	s := d.current.Load()
	if d.stale(s) {
		return Key{}, false
	}
	if i := s.find(digest); i >= 0 {
		return s.keys[i], true
	}
	return Key{}, false
}

// Replace makes keys the whole set, as its source has it now. The directory
// keeps the slice. Of keys with the same digest the last one counts.
func (d *Directory) Replace(keys []Key) error { return d.ReplaceAt(keys, time.Now()) }

// ReplaceAt is Replace with a set that was true at a time in the past, such as
// one from a Cache.
func (d *Directory) ReplaceAt(keys []Key, at time.Time) error {
	if len(keys) > MaxKeys {
		return fmt.Errorf("%d keys are more than the %d that a node takes", len(keys), MaxKeys)
	}
	s := newSnapshot(keys, at)
	d.writing.Lock()
	defer d.writing.Unlock()
	d.current.Store(s)
	return nil
}

// Confirm says that the source still has the same set: its age starts again.
func (d *Directory) Confirm() {
	d.writing.Lock()
	defer d.writing.Unlock()
	s := *d.current.Load()
	s.refreshed = time.Now()
	d.current.Store(&s)
}

// Keys returns the set and when its source last said so, zero if it never did. The
// caller must not change it.
func (d *Directory) Keys() ([]Key, time.Time) {
	s := d.current.Load()
	return s.keys, s.refreshed
}

// Len is the number of keys, revoked and expired ones included.
func (d *Directory) Len() int { return len(d.current.Load().keys) }

// Age is how long ago the source last said that this is the set; 0 if it never did.
func (d *Directory) Age() time.Duration { return age(d.current.Load()) }

// Stale tells whether lookups fail because of the set's age.
func (d *Directory) Stale() bool { return d.stale(d.current.Load()) }

func (d *Directory) stale(s *snapshot) bool {
	maxStale := time.Duration(d.maxStale.Load())
	return maxStale > 0 && age(s) > maxStale
}

// age is never negative: a cached set can carry the time of a clock that ran ahead.
func age(s *snapshot) time.Duration {
	if s.refreshed.IsZero() {
		return 0
	}
	return max(0, time.Since(s.refreshed))
}

func newSnapshot(keys []Key, at time.Time) *snapshot {
	s := &snapshot{
		keys: keys[:0], refreshed: at,
		first: make(map[uint64]int32, len(keys)), next: make([]int32, 0, len(keys)),
	}
	for _, key := range keys {
		if i := s.find(key.Digest); i >= 0 {
			s.keys[i] = key
			continue
		}
		prefix, next := digestPrefix(key.Digest), int32(-1)
		if other, shared := s.first[prefix]; shared {
			next = other
		}
		s.first[prefix] = int32(len(s.keys))
		s.keys = append(s.keys, key)
		s.next = append(s.next, next)
	}
	return s
}

// find returns the index of the key with this digest, -1 if there is none.
func (s *snapshot) find(digest Digest) int32 {
	i, ok := s.first[digestPrefix(digest)]
	if !ok {
		return -1
	}
	for ; i >= 0; i = s.next[i] {
		if subtle.ConstantTimeCompare(s.keys[i].Digest[:], digest[:]) == 1 {
			return i
		}
	}
	return -1
}

// digestPrefix is what the map is keyed by. Its comparison may leak, in time,
// eight bytes of a hash; the rest is compared in constant time.
func digestPrefix(d Digest) uint64 { return binary.BigEndian.Uint64(d[:8]) }
