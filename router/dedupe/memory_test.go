package dedupe_test

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"forebay/router/dedupe"
)

// bytesPerKey is what the configuration promises.
const bytesPerKey = 32

// TestBytesPerKey measures at sizes just past a doubling of the tables, when they
// are emptiest, and just before one.
func TestBytesPerKey(t *testing.T) {
	const block = 500
	random := rand.New(rand.NewPCG(1, 2))
	w := dedupe.New(dedupe.Options{MaxKeys: 2_000_000})
	at := time.Now()
	before := heap()
	digests := make([]uint64, block)
	for keys := block; keys <= 1_000_000; keys += block {
		for i := range digests {
			digests[i] = random.Uint64()
		}
		w.Load(at.Add(time.Duration(keys-2_000_000)*time.Millisecond), digests)
		if keys%100_000 != 0 {
			continue
		}
		grown, stats := heap()-before, w.Stats()
		t.Logf("%d keys: %.1f bytes each, %.1f by its own count", keys, float64(grown)/float64(keys), float64(stats.Bytes)/float64(keys))
		if grown > int64(keys)*bytesPerKey || stats.Bytes > int64(keys)*bytesPerKey {
			t.Errorf("%d keys take %d bytes, by its own count %d; want at most %d each", keys, grown, stats.Bytes, bytesPerKey)
		}
	}
	runtime.KeepAlive(w)
}

func TestDigestTellsKeysApart(t *testing.T) {
	var one, other [16]byte
	other[15] = 1
	h := dedupe.NewHasher(one)
	seen := map[uint64]string{}
	for name, digest := range map[string]uint64{
		"plain":         h.Digest("shop", "key-1"),
		"another key":   h.Digest("shop", "key-2"),
		"another shop":  h.Digest("shop2", "key-1"),
		"shifted":       h.Digest("sho", "pkey-1"),
		"empty project": h.Digest("", "shopkey-1"),
		"empty key":     h.Digest("shopkey-1", ""),
		"another log":   dedupe.NewHasher(other).Digest("shop", "key-1"),
		"long":          h.Digest("shop", string(make([]byte, 10_000))),
		"longer":        h.Digest("shop", string(make([]byte, 10_001))),
	} {
		if twin, taken := seen[digest]; taken || digest == dedupe.NoKey {
			t.Errorf("%s and %s share a digest", name, twin)
		}
		seen[digest] = name
	}
	if h.Digest("shop", "key-1") != dedupe.NewHasher(one).Digest("shop", "key-1") {
		t.Error("a digest is not the same after a restart")
	}
}

// TestDigestStaysTheSame pins the digest: the log holds digests for longer than
// this program runs. The value is the SipHash-2-4 of "\x04shopkey-1".
func TestDigestStaysTheSame(t *testing.T) {
	log := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	const want uint64 = 0xcb9d6bc409d052c2
	if got := dedupe.NewHasher(log).Digest("shop", "key-1"); got != want {
		t.Errorf("Digest = %#x, want %#x", got, want)
	}
}

// BenchmarkRebuild loads what a log of four million keys holds, in blocks of 500.
func BenchmarkRebuild(b *testing.B) {
	const keys, block = 4_000_000, 500
	random := rand.New(rand.NewPCG(1, 2))
	digests := make([]uint64, keys)
	for i := range digests {
		digests[i] = random.Uint64()
	}
	for b.Loop() {
		w := dedupe.New(dedupe.Options{MaxKeys: keys, Rebuild: true})
		at := time.Now().Add(-time.Hour)
		for i := 0; i < keys; i += block {
			w.Load(at.Add(time.Duration(i)*time.Microsecond), digests[i:i+block])
		}
		w.Loaded()
	}
	b.ReportMetric(float64(b.N)*keys/b.Elapsed().Seconds(), "keys/s")
}

// BenchmarkReserveAndCommit is a request of ten events, on a full window of a million keys.
func BenchmarkReserveAndCommit(b *testing.B) {
	hasher := dedupe.NewHasher([16]byte{1})
	w := dedupe.New(dedupe.Options{})
	fill, random := make([]uint64, 1000), rand.New(rand.NewPCG(1, 2))
	for range dedupe.DefaultMaxKeys / len(fill) {
		for i := range fill {
			fill[i] = random.Uint64()
		}
		w.Load(time.Now(), fill)
	}
	b.ReportAllocs()
	var sessions atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		digests := make([]uint64, 10)
		session := strconv.FormatUint(sessions.Add(1), 16) + "-"
		for n := 0; pb.Next(); n++ {
			for i := range digests {
				digests[i] = hasher.Digest("shop", session+strconv.Itoa(10*n+i))
			}
			w.Reserve(digests).Commit()
		}
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
