package ratelimit_test

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"forebay/router/auth"
	"forebay/router/ratelimit"
)

func TestBucketFillsAtTheRateUpToTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Options{RequestsPerSecond: 10, Burst: 3})
		key := newKey(1)
		if got := drain(l, key); got != 3 {
			t.Fatalf("%d requests at once, want the burst of 3", got)
		}
		ok, wait := l.Allow(key)
		if ok || wait != 100*time.Millisecond {
			t.Fatalf("Allow = %v, %v; want a wait of 100ms", ok, wait)
		}
		time.Sleep(wait - time.Nanosecond)
		if ok, _ := l.Allow(key); ok {
			t.Fatal("allowed before the time that was told")
		}
		time.Sleep(time.Nanosecond)
		if ok, _ := l.Allow(key); !ok {
			t.Fatal("refused at the time that was told")
		}
		time.Sleep(time.Hour)
		if got := drain(l, key); got != 3 {
			t.Fatalf("%d requests after an hour, want the burst of 3", got)
		}
		if got := drain(l, newKey(2)); got != 3 {
			t.Fatalf("%d requests of another key, want 3", got)
		}
	})
}

func TestChangedLimitsKeepTheLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Options{RequestsPerSecond: 1, Burst: 10})
		key := newKey(1)
		drain(l, key)
		key.Burst = 1000 // more room, but nothing in it
		if ok, _ := l.Allow(key); ok {
			t.Fatal("a larger burst filled the bucket")
		}
		key.RequestsPerSecond = 100
		time.Sleep(time.Second)
		if got := drain(l, key); got != 100 {
			t.Fatalf("%d requests after a second at the new rate, want 100", got)
		}
		time.Sleep(time.Minute)
		key.Burst = 5
		if got := drain(l, key); got != 5 {
			t.Fatalf("%d requests from a full bucket made smaller, want 5", got)
		}
	})
}

func TestAddressesAreTakenByTheirNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Options{RequestsPerSecond: 1, Burst: 1})
		for _, c := range []struct {
			addr string
			want bool
		}{
			{"192.0.2.1", true}, {"192.0.2.1", false}, {"::ffff:192.0.2.1", false}, {"192.0.2.2", true},
			{"2001:db8:1:2::1", true}, {"2001:db8:1:2:ffff::9", false}, {"2001:db8:1:2::1%eth0", false}, {"2001:db8:1:3::1", true},
			{"::c000:202", true}, // not IPv4, although its last bits are those of 192.0.2.2
		} {
			if got, _ := l.AllowAddr(netip.MustParseAddr(c.addr)); got != c.want {
				t.Errorf("AllowAddr(%s) = %v, want %v", c.addr, got, c.want)
			}
		}
		if got, _ := l.AllowAddr(netip.Addr{}); got {
			t.Error("no address is not limited like ::")
		}
	})
}

// TestNoSenderGetsMoreThanItsDue compares with the definition: in any stretch of
// time at most burst + rate × time, and a request is refused only if that is used up.
func TestNoSenderGetsMoreThanItsDue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.SampledFrom([]float64{0.5, 1, 7, 1000}).Draw(rt, "rate")
		burst := rapid.IntRange(1, 20).Draw(rt, "burst")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 200).Draw(rt, "pauses in ms")
		var fault string
		synctest.Test(t, func(t *testing.T) {
			l := ratelimit.New(ratelimit.Options{MaxKeys: 1, MaxAddresses: 1})
			key := newKey(1)
			key.RequestsPerSecond, key.Burst = rate, burst
			level, last := float64(burst), time.Now()
			for _, pause := range pauses {
				time.Sleep(time.Duration(pause) * time.Millisecond)
				level = min(float64(burst), level+time.Since(last).Seconds()*rate)
				last = time.Now()
				ok, wait := l.Allow(key)
				const rounding = 1e-6
				if ok && level < 1-rounding || !ok && level > 1+rounding {
					fault = "allowed or refused against the level of the bucket"
				}
				if ok {
					level--
				} else if due := (1 - level) / rate; wait.Seconds() < due-rounding || wait.Seconds() > due+rounding {
					fault = "another wait than until the next token"
				}
			}
		})
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

func TestStrangersCannotResetABucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Options{RequestsPerSecond: 1, Burst: 5, MaxAddresses: 640})
		victim := netip.MustParseAddr("192.0.2.1")
		for range 5 {
			l.AllowAddr(victim)
		}
		for i := range 100_000 {
			l.AllowAddr(address(uint64(i)))
		}
		if ok, _ := l.AllowAddr(victim); ok {
			t.Fatal("a flood of other addresses has filled the bucket")
		}
		if s := l.Stats(); s.Addresses > 640 || s.SharedRequests == 0 {
			t.Fatalf("stats %+v, want at most 640 buckets and some shared requests", s)
		}
		// Full again, they are worth no more than none and make room.
		time.Sleep(time.Minute)
		before := l.Stats().SharedRequests
		for i := range 64 {
			if ok, _ := l.AllowAddr(address(uint64(1_000_000 + i))); !ok {
				t.Fatal("a new address is refused although there is room again")
			}
		}
		if s := l.Stats(); s.SharedRequests != before || s.Addresses > 640 {
			t.Fatalf("stats %+v, want buckets of their own for all", s)
		}
	})
}

func TestFloodIsRefusedAsAWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, burst = 640, 5
		l := ratelimit.New(ratelimit.Options{RequestsPerSecond: 1, Burst: burst, MaxAddresses: places})
		allowed := 0
		for i := range 200_000 {
			if ok, _ := l.AllowAddr(address(uint64(i))); ok {
				allowed++
			}
		}
		// One for each that found a place, and a burst for the bucket that each of 64 shards shares.
		if limit := places + 64*burst; allowed > limit {
			t.Fatalf("%d of a flood are allowed, want at most %d", allowed, limit)
		}
	})
}

// TestMemoryIsBoundedUnderRandomSenders sends random keys from as many addresses:
// such keys are not known, so the address has the bucket. Known keys come from
// the operator; there are more of them here than have room, all the same.
func TestMemoryIsBoundedUnderRandomSenders(t *testing.T) {
	// Time stands still, so that no bucket fills again and gives up its place.
	synctest.Test(t, func(t *testing.T) {
		const strangers, known = 10_000_000, 500_000
		before := heap()
		l := ratelimit.New(ratelimit.Options{})
		random := rand.New(rand.NewPCG(1, 2))
		for range strangers {
			l.AllowAddr(address(random.Uint64()))
		}
		for range known {
			var key auth.Key
			binary.BigEndian.PutUint64(key.Digest[:], random.Uint64())
			l.Allow(key)
		}
		grown := heap() - before
		s := l.Stats()
		t.Logf("%.1f MB, %+v", float64(grown)/(1<<20), s)
		if limit := int64(40*ratelimit.DefaultMaxAddresses + 56*ratelimit.DefaultMaxKeys + 1<<20); grown > limit {
			t.Errorf("the buckets take %d MB, want at most %d MB", grown>>20, limit>>20)
		}
		if s.Addresses < ratelimit.DefaultMaxAddresses*99/100 || s.Addresses > ratelimit.DefaultMaxAddresses || s.SharedRequests < strangers*9/10 {
			t.Errorf("stats %+v, want all places taken and the rest to share", s)
		}
		runtime.KeepAlive(l)
	})
}

func TestConcurrentSendersShareTheTokensExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Options{RequestsPerSecond: 1, Burst: 1000})
		var allowed atomic.Int64
		var senders sync.WaitGroup
		for range 8 {
			senders.Go(func() {
				for range 1000 {
					if ok, _ := l.Allow(newKey(1)); ok {
						allowed.Add(1)
					}
				}
			})
		}
		senders.Wait()
		if got := allowed.Load(); got != 1000 {
			t.Fatalf("%d requests allowed, want the burst of 1000", got)
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	l := ratelimit.New(ratelimit.Options{})
	keys := make([]auth.Key, 1000)
	for i := range keys {
		keys[i] = newKey(uint64(i))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			l.Allow(keys[i%len(keys)])
		}
	})
}

func BenchmarkAllowAddrUnderAFlood(b *testing.B) {
	l := ratelimit.New(ratelimit.Options{})
	b.ReportAllocs()
	var n atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		for random := rand.New(rand.NewPCG(1, n.Add(1))); pb.Next(); {
			l.AllowAddr(address(random.Uint64()))
		}
	})
}

func newKey(n uint64) auth.Key {
	digest := auth.Digest(sha256.Sum256(binary.BigEndian.AppendUint64(nil, n)))
	return auth.Key{ID: digest.ID(), Digest: digest, Project: "shop"}
}

// address is in a /64 of its own.
func address(n uint64) netip.Addr {
	var full [16]byte
	binary.BigEndian.PutUint64(full[:8], n|1<<63)
	return netip.AddrFrom16(full)
}

// drain counts the requests that are allowed at once.
func drain(l *ratelimit.Limiter, key auth.Key) (allowed int) {
	for {
		if ok, _ := l.Allow(key); !ok {
			return allowed
		}
		allowed++
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
