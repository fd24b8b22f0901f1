// Package ratelimit bounds how many requests a sender makes, with token buckets:
// a bucket fills at the sender's rate up to its burst, and each request takes one
// token or is refused.
//
// Known senders are told apart by their key, with the limits that stand in it;
// everyone else by client address, IPv4 whole and IPv6 by /64, which is what one
// customer of a provider usually gets.
//
// The number of buckets is fixed, whatever keys and addresses arrive. A bucket that
// is full again is the same as none and gives up its place; at the default limits
// that is a millisecond after a single request, and two seconds after a whole
// burst. A newcomer may take any
// of eight places. If all of them are held by buckets that are not full, it draws on
// one of 64 buckets that such newcomers share. So no number of other senders resets
// a bucket; a flood that keeps most places busy makes some newcomers share.
package ratelimit

import (
	"net/netip"
	"sync/atomic"
	"time"

	"forebay/router/auth"
)

// Defaults of Options.
const (
	DefaultRequestsPerSecond = 1000
	DefaultBurst             = 2000
	DefaultMaxAddresses      = 200_000
	DefaultMaxKeys           = 200_000
)

// Options set a Limiter up. A zero field takes its default.
type Options struct {
	RequestsPerSecond float64 // of a key that names no rate, and of an address
	Burst             int     // of a key that names none, and of an address

	// How many places there are, rounded down to a multiple of 512, but at least 512.
	MaxAddresses int // for address buckets, 40 bytes each
	MaxKeys      int // for key buckets, 56 bytes each; only known keys have one
}

// Limiter holds the buckets. It is safe for concurrent use.
type Limiter struct {
	defaults  atomic.Pointer[limit]
	start     time.Time
	keys      *table[auth.Digest]
	addresses *table[addressBlock]
}

// New makes a limiter with every bucket full.
func New(opts Options) *Limiter {
	if opts.RequestsPerSecond <= 0 {
		opts.RequestsPerSecond = DefaultRequestsPerSecond
	}
	if opts.Burst <= 0 {
		opts.Burst = DefaultBurst
	}
	if opts.MaxAddresses <= 0 {
		opts.MaxAddresses = DefaultMaxAddresses
	}
	if opts.MaxKeys <= 0 {
		opts.MaxKeys = DefaultMaxKeys
	}
	l := &Limiter{
		start:     time.Now(),
		keys:      newTable[auth.Digest](opts.MaxKeys),
		addresses: newTable[addressBlock](opts.MaxAddresses),
	}
	l.SetDefaults(opts.RequestsPerSecond, opts.Burst)
	return l
}

// SetDefaults changes the limits of senders that have none of their own, both
// over 0. It holds from the next request on; buckets keep their level, up to the
// new burst.
func (l *Limiter) SetDefaults(requestsPerSecond float64, burst int) {
	l.defaults.Store(&limit{rate: requestsPerSecond, burst: float64(burst)})
}

// Allow takes a token from the key's bucket. If there is none, retryAfter is how
// long until there is one, if nobody else takes it. A change of the key's limits
// holds from the next request on and keeps the bucket's level, up to the new burst.
func (l *Limiter) Allow(key auth.Key) (ok bool, retryAfter time.Duration) {
	lim := *l.defaults.Load()
	if key.RequestsPerSecond > 0 {
		lim.rate = key.RequestsPerSecond
	}
	if key.Burst > 0 {
		lim.burst = float64(key.Burst)
	}
	return l.keys.take(key.Digest, lim, time.Since(l.start))
}

// AllowAddr is Allow for a request without a known key: the bucket is that of
// its client address. An invalid address counts as ::.
func (l *Limiter) AllowAddr(addr netip.Addr) (ok bool, retryAfter time.Duration) {
	return l.addresses.take(blockOf(addr), *l.defaults.Load(), time.Since(l.start))
}

// Stats is the limiter's condition.
type Stats struct {
	Keys           int    // key buckets that are not full
	Addresses      int    // address buckets that are not full
	SharedRequests uint64 // requests that found no place for a bucket of their own
}

// Stats looks at every bucket: it is for once a second, not for each request.
func (l *Limiter) Stats() Stats {
	now := time.Since(l.start)
	keys, sharedKeys := l.keys.stats(now)
	addresses, sharedAddresses := l.addresses.stats(now)
	return Stats{Keys: keys, Addresses: addresses, SharedRequests: sharedKeys + sharedAddresses}
}

// addressBlock is the network that shares a bucket.
type addressBlock struct {
	bits uint64 // an IPv4 address, or the upper half of an IPv6 one
	six  bool
}

func blockOf(addr netip.Addr) addressBlock {
	addr = addr.Unmap()
	full := addr.As16()
	var upper, lower uint64
	for i := range 8 {
		upper = upper<<8 | uint64(full[i])
		lower = lower<<8 | uint64(full[8+i])
	}
	if addr.Is4() {
		return addressBlock{bits: lower & 0xffff_ffff}
	}
	return addressBlock{bits: upper, six: true}
}
