package ratelimit

import (
	"hash/maphash"
	"math"
	"sync"
	"time"
)

const (
	shardCount = 64
	// ways is how many places a bucket can be in, and so how many a newcomer looks at.
	ways = 8
)

// limit is a rate in tokens per second and the size of the bucket.
type limit struct{ rate, burst float64 }

// bucket holds tokens. Its limit comes with each request.
type bucket struct {
	tokens float64
	at     time.Duration // when tokens was true
}

// take fills in what came in meanwhile, and takes a token if there is one.
func (b *bucket) take(lim limit, now time.Duration) (ok bool, retryAfter time.Duration) {
	elapsed := max(0, now-b.at) // requests race for the lock, so now may be a little behind
	b.tokens = min(lim.burst, b.tokens+elapsed.Seconds()*lim.rate)
	b.at += elapsed
	if b.tokens < 1 {
		return false, lim.duration(1 - b.tokens)
	}
	b.tokens--
	return true, 0
}

// duration is how long the tokens take to come in.
func (l limit) duration(tokens float64) time.Duration {
	const longest = float64(math.MaxInt64 / 4) // a sum of two still fits
	return time.Duration(min(math.Ceil(tokens/l.rate*float64(time.Second)), longest))
}

// table is a fixed number of places for buckets, in shards, each under its own
// lock. A key hashes to a row of a shard and may be at any place of that row. The
// hash is seeded, so that nobody can aim at one row.
type table[K comparable] struct {
	seed   maphash.Seed
	shards [shardCount]shard[K]
}

type shard[K comparable] struct {
	mu       sync.Mutex
	rows     [][ways]place[K]
	overflow bucket // shared by newcomers without a place
	shared   uint64 // requests that drew on it
}

// place holds a bucket until the time it is full again: then it is the same as
// none. The zero place is free.
type place[K comparable] struct {
	key K
	bucket
	fullAt time.Duration
}

func newTable[K comparable](places int) *table[K] {
	t := &table[K]{seed: maphash.MakeSeed()}
	rows := max(1, places/(shardCount*ways))
	for i := range t.shards {
		t.shards[i].rows = make([][ways]place[K], rows)
		t.shards[i].overflow.tokens = math.Inf(1) // full, whatever burst comes first
	}
	return t
}

func (t *table[K]) take(key K, lim limit, now time.Duration) (ok bool, retryAfter time.Duration) {
	hash := maphash.Comparable(t.seed, key)
	s := &t.shards[hash%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.find(hash/shardCount, key, now)
	if p == nil {
		s.shared++
		return s.overflow.take(lim, now)
	}
	if p.key != key || p.fullAt == 0 {
		*p = place[K]{key: key, bucket: bucket{tokens: lim.burst, at: now}}
	}
	ok, retryAfter = p.take(lim, now)
	p.fullAt = max(1, p.at+lim.duration(lim.burst-p.tokens))
	return ok, retryAfter
}

// find returns the key's place or one that it may take; nil if there is neither.
func (s *shard[K]) find(hash uint64, key K, now time.Duration) *place[K] {
	row := &s.rows[hash%uint64(len(s.rows))]
	var free *place[K]
	for i := range row {
		p := &row[i]
		if p.fullAt != 0 && p.key == key {
			return p
		}
		if free == nil && p.fullAt <= now {
			free = p
		}
	}
	return free
}

// stats counts the buckets that are not full, and the requests without one.
func (t *table[K]) stats(now time.Duration) (inUse int, shared uint64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for r := range s.rows {
			for p := range s.rows[r] {
				if s.rows[r][p].fullAt > now {
					inUse++
				}
			}
		}
		shared += s.shared
		s.mu.Unlock()
	}
	return inUse, shared
}
