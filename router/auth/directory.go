package auth

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MaxKeys is the largest number of keys that a directory takes, about 200 MB.
const MaxKeys = 1_000_000

// Directory is the set of keys in memory. Lookups take no lock and wait for
// nothing; a Source offers the set as a whole. It is safe for concurrent use.
type Directory struct {
	maxStale atomic.Int64 // a time.Duration
	doubtFor atomic.Int64 // a time.Duration
	current  atomic.Pointer[snapshot]
	denied   atomic.Pointer[map[Digest]Denial]
	changed  chan struct{} // holds one when the set or the doubt is another

	writing sync.Mutex // held by whoever changes current, never by Lookup; guards what follows
	sets    uint64     // how many there have been
	offered *snapshot  // what the source says and is doubted; nil: nothing is
}

// snapshot is immutable once it is published.
type snapshot struct {
	keys      []Key
	first     map[uint64]int32 // digest prefix → one key that has it
	next      []int32          // for each key: another with its prefix, or -1
	refreshed time.Time        // when the source last said that this is the set
	set       uint64           // number of the set: Confirm leaves it
	answered  bool             // the source itself has spoken, not the cache alone
	doubt     *Doubt           // what the source says now is doubted; nil: it is not
	unrevoked int              // keys that are not revoked
	lastEnd   time.Time        // when the last of those expires; zero: one never does
}

// NewDirectory makes an empty directory. Once its source has not confirmed the
// set for maxStale, every lookup fails, since keys may have been revoked
// meanwhile; 0 means that age does not matter.
func NewDirectory(maxStale time.Duration) *Directory {
	d := &Directory{changed: make(chan struct{}, 1)}
	d.SetMaxStale(maxStale)
	d.SetDoubtFor(DefaultDoubtFor)
	d.current.Store(&snapshot{})
	return d
}

// SetMaxStale changes how long the set may go unconfirmed.
func (d *Directory) SetMaxStale(maxStale time.Duration) { d.maxStale.Store(int64(maxStale)) }

// Lookup returns the key with this digest. Known is false if there is none or
// the set is stale. A revoked or expired key is known: Key.State tells. A denied
// key is revoked.
func (d *Directory) Lookup(digest Digest) (key Key, known bool) {
	s := d.current.Load()
	if d.stale(s) {
		return Key{}, false
	}
	i := s.find(digest)
	if i < 0 {
		return Key{}, false
	}
	key = s.keys[i]
	if denied := d.denied.Load(); denied != nil && key.RevokedAt.IsZero() {
		if denial, ok := (*denied)[digest]; ok {
			key.RevokedAt = denial.At
		}
	}
	return key, true
}

// Replace makes keys the whole set without a doubt. The directory keeps the
// slice. Of keys with the same digest the last one counts.
func (d *Directory) Replace(keys []Key) error {
	if err := tooMany(keys); err != nil {
		return err
	}
	s := newSnapshot(keys, time.Now())
	s.answered = true
	d.writing.Lock()
	defer d.writing.Unlock()
	d.offered = nil
	d.publish(s)
	return nil
}

// Restore puts back what a Cache has kept. The source has not spoken by it.
func (d *Directory) Restore(saved Saved) error {
	if err := tooMany(saved.Keys); err != nil {
		return err
	}
	s := newSnapshot(saved.Keys, saved.At)
	s.doubt = saved.Doubt
	d.writing.Lock()
	defer d.writing.Unlock()
	d.publish(s)
	return nil
}

func tooMany(keys []Key) error {
	if len(keys) > MaxKeys {
		return fmt.Errorf("%d keys are more than the %d that a node takes", len(keys), MaxKeys)
	}
	return nil
}

// publish makes s the set. It is called with d.writing held.
func (d *Directory) publish(s *snapshot) {
	d.sets++
	s.set = d.sets
	d.current.Store(s)
	select {
	case d.changed <- struct{}{}:
	default: // whoever waits hears of it anyway
	}
}

// Confirm says that the source still has the set that it offered last: its age
// starts again. A set that has been doubted for long enough is taken.
func (d *Directory) Confirm() {
	d.writing.Lock()
	defer d.writing.Unlock()
	s := *d.current.Load()
	s.refreshed, s.answered = time.Now(), true
	if d.offered != nil && !s.refreshed.Before(s.doubt.Until) {
		d.believe(s.refreshed)
		return
	}
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

// Filled tells whether the source or a cache has ever said what the keys are.
func (d *Directory) Filled() bool { return !d.current.Load().refreshed.IsZero() }

// Answered tells whether the source itself has said what the keys are since the
// start; otherwise they are a cache's, or there are none.
func (d *Directory) Answered() bool { return d.current.Load().answered }

// InForce tells whether any key is neither revoked nor expired at now, denials aside.
func (d *Directory) InForce(now time.Time) bool {
	s := d.current.Load()
	return s.unrevoked > 0 && (s.lastEnd.IsZero() || now.Before(s.lastEnd))
}

// Find returns the one key that reference names, as ParseReference takes it, stale
// or not: ErrKeyNotFound or ErrKeyAmbiguous if it is not one.
func (d *Directory) Find(reference string) (found Key, err error) {
	ref, err := ParseReference(reference)
	if err != nil {
		return Key{}, err
	}
	for _, key := range d.current.Load().keys {
		if !strings.HasPrefix(key.Digest.String(), ref) {
			continue
		}
		if found.ID != "" {
			return Key{}, fmt.Errorf("%w: %s", ErrKeyAmbiguous, ref)
		}
		found = key
	}
	if found.ID == "" {
		return Key{}, fmt.Errorf("%w: %s", ErrKeyNotFound, ref)
	}
	return found, nil
}

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
	s.tellForce()
	return s
}

// tellForce fills in what InForce stands on.
func (s *snapshot) tellForce() {
	forever := false
	for i := range s.keys {
		key := &s.keys[i]
		if !key.RevokedAt.IsZero() {
			continue
		}
		s.unrevoked++
		forever = forever || key.ExpiresAt.IsZero()
		if key.ExpiresAt.After(s.lastEnd) {
			s.lastEnd = key.ExpiresAt
		}
	}
	if forever {
		s.lastEnd = time.Time{}
	}
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
