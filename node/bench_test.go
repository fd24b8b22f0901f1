package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"forebay/node/admin"
	"forebay/node/config"
	"forebay/router/dedupe"
	"forebay/wal"
	"forebay/wal/record"
)

// tracedEvents is how many events the log of BenchmarkTrace has, unless
// BENCH_EVENTS says so.
const tracedEvents = 10_000_000

// BenchmarkTrace looks for one event in a log of ten million, all of them
// shipped long ago: by its seq and by its idempotency key, the oldest and the
// newest, and for a key that is not there. Each line is the whole answer of a
// stopped node, its destinations aside; the log's files are in the page cache.
//
// The log is made in the folder for temporary files, or in BENCH_DIR.
func BenchmarkTrace(b *testing.B) {
	events := tracedEvents
	if text := os.Getenv("BENCH_EVENTS"); text != "" {
		var err error
		if events, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "trace-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := config.Dev(dir)
	c.Shippers.Session.Enabled = false
	begun := time.Now()
	bytes := fillTraced(b, filepath.Join(c.Node.DataDir, "wal"), events)
	b.Logf("a log of %d events and %d MiB, made in %s", events, bytes>>20, time.Since(begun).Round(time.Second))
	n, err := OpenStopped(c, "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	for name, q := range map[string]admin.TraceQuery{
		"seq/oldest":     {Seq: 1},
		"seq/newest":     {Seq: uint64(events)},
		"key/oldest":     {Key: "key-0", Project: "shop"},
		"key/newest":     {Key: fmt.Sprintf("key-%d", events-1), Project: "shop"},
		"key/not there":  {Key: "nosuch", Project: "shop"},
		"key/no project": {Key: "key-0"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				t, err := n.Trace(b.Context(), q)
				if err != nil || t.Found != (name != "key/not there" && name != "key/no project") {
					b.Fatalf("%+v, %v", t, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms")
		})
	}
}

// fillTraced appends events in requests of 100, as the front door does, and
// returns the size of the log.
func fillTraced(b *testing.B, dir string, events int) int64 {
	log, err := wal.Open(wal.Options{Dir: dir, Compression: wal.CompressionS2, SyncInterval: time.Minute, ReserveBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			b.Fatal(err)
		}
	}()
	const request, senders = 100, 32
	hasher := dedupe.NewHasher(log.ID())
	var sending sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			var data []byte
			for first := s * request; first < events; first += senders * request {
				batch := record.Batch{Project: "shop", SDKVersion: "1.0.0", AppID: "web"}
				digests := make([]uint64, 0, request)
				for i := first; i < min(first+request, events); i++ {
					key := fmt.Sprintf("key-%d", i)
					batch.Events = append(batch.Events, record.Event{Session: fmt.Sprint("s", i%1000), Raw: fmt.Appendf(nil,
						`{"eventType":"click","timestamp":"2026-11-23T10:00:00Z","sessionId":"s%d","route":"/","target":{"type":"page"},"idempotencyKey":%q}`, i%1000, key)})
					digests = append(digests, hasher.Digest("shop", key))
				}
				data = record.Append(data[:0], &batch)
				if _, err := log.Append(b.Context(), wal.Entry{Data: data, Events: len(batch.Events), Digests: digests}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	sending.Wait()
	return log.Stats().Bytes
}
