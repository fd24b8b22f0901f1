package ratelimit

import (
	"hash/maphash"
	"math"
	"sync"
	"time"
)

const (
	shardCount = 64
	// probes bounds the buckets that a newcomer looks at for one to replace.
	probes = 8
)

// limit is a rate in tokens per second and the size of the bucket.
type limit struct{ rate, burst float64 }

// bucket is 16 bytes; its limit comes with each request.
type bucket struct {
	tokens float64
	at     time.Duration // when tokens was true
}

// fill adds what came in since the bucket was looked at.
func (b *bucket) fill(lim limit, now time.Duration) {
	elapsed := max(0, now-b.at) // requests race for the lock, so now may be a little behind
	b.tokens = min(lim.burst, b.tokens+elapsed.Seconds()*lim.rate)
	b.at += elapsed
}

func (b *bucket) take(lim limit, now time.Duration) (ok bool, retryAfter time.Duration) {
	b.fill(lim, now)
	if b.tokens >= 1 {
		b.tokens--
		return true, 0
	}
	wait := (1 - b.tokens) / lim.rate * float64(time.Second)
	return false, time.Duration(min(math.Ceil(wait), float64(math.MaxInt64/2)))
}

// table is a bounded set of buckets in shards, each under its own lock. The hash
// that spreads them is seeded, so that nobody can aim at one shard.
type table[K comparable] struct {
	seed   maphash.Seed
	shards [shardCount]shard[K]
}

type shard[K comparable] struct {
	mu       sync.Mutex
	capacity int
	buckets  map[K]entry
	overflow bucket // shared by newcomers without a place
	shared   uint64 // requests that drew on it
}

// entry is a bucket with the time by which it is full again.
type entry struct {
	bucket
	fullAt time.Duration
}

func newTable[K comparable](capacity int) *table[K] {
	t := &table[K]{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].capacity = max(1, capacity/shardCount)
		t.shards[i].buckets = make(map[K]entry)
		t.shards[i].overflow.tokens = math.Inf(1) // full, whatever burst comes first
	}
	return t
}

func (t *table[K]) take(key K, lim limit, now time.Duration) (ok bool, retryAfter time.Duration) {
	s := &t.shards[maphash.Comparable(t.seed, key)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, found := s.buckets[key]
	if !found {
		if !s.makeRoom(now) {
			s.shared++
			return s.overflow.take(lim, now)
		}
		e = entry{bucket: bucket{tokens: lim.burst, at: now}}
	}
	ok, retryAfter = e.take(lim, now)
	e.fullAt = e.at + time.Duration(min((lim.burst-e.tokens)/lim.rate*float64(time.Second), float64(math.MaxInt64/2)))
	s.buckets[key] = e
	return ok, retryAfter
}

// makeRoom tells whether one more bucket may be held, and gives up full ones for
// it. Iteration starts at a random place, so successive newcomers look at others.
func (s *shard[K]) makeRoom(now time.Duration) bool {
	if len(s.buckets) < s.capacity {
		return true
	}
	looked := 0
	for key, e := range s.buckets {
		if e.fullAt <= now {
			delete(s.buckets, key)
			return true
		}
		if looked++; looked == probes {
			break
		}
	}
	return false
}

func (t *table[K]) stats() (held int, shared uint64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		held += len(s.buckets)
		shared += s.shared
		s.mu.Unlock()
	}
	return held, shared
}
