package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"forebay/cmd/internal/sample"
	"forebay/node/nodetest"
	"forebay/wal"
	"forebay/wal/record"
)

// TestStartOnABacklog starts a node on a log that nothing has been shipped
// from: as many segments as 10 GB have, small ones, or 10 GB indeed in
// `make torture`. What the node needs for opening it, beside a node without a
// backlog, does not grow with what is in the segments.
func TestStartOnABacklog(t *testing.T) {
	const segments, mostMB, within = 1280, 64, time.Second
	segmentBytes := int64(64 << 10)
	torture := os.Getenv("FOREBAY_TORTURE") != ""
	if torture {
		segmentBytes = 8 << 20
	}
	p := newProcess(t, "shippers: {clickhouse: {addrs: [\"127.0.0.1:1\"], create_table: false}, session: {enabled: false}}\n")
	generator := sample.New(1, 16)
	first := func() (time.Duration, float64) {
		begun := time.Now()
		p.start()
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		b := generator.Batch(0, 1)
		nodetest.Eventually(t, waitLimit, func() bool {
			r, err := p.post(client, b.Body)
			return err == nil && r.Accepted == 1
		}, "an event is accepted")
		return time.Since(begun), memoryMB(t, p.cmd.Process.Pid, "VmHWM:")
	}
	first() // makes the directory
	p.stop()
	_, idle := first()
	p.stop()

	dir := filepath.Join(p.dir, "data", "wal")
	bytes := fillBacklog(t, dir, segmentBytes, segments)
	took, peak := first()
	t.Logf("%.2f GB in %d segments: the first event is accepted %s after the start; opening takes %.0f MB (%.0f MB in all)",
		float64(bytes)/1e9, segments, took.Round(time.Millisecond), peak-idle, peak)
	if peak-idle > mostMB {
		t.Errorf("the node takes %.0f MB at its start, %.0f MB without a backlog: opening may take %d MB", peak, idle, mostMB)
	}
	if torture && took > within {
		t.Errorf("the first event was accepted after %s, want %s", took, within)
	}
	p.kill()
}

// fillBacklog appends requests of 100 events with keys of their own to the log
// of a node that is down, and returns how many bytes the log has.
func fillBacklog(t *testing.T, dir string, segmentBytes int64, segments int) int64 {
	t.Helper()
	log, err := wal.Open(wal.Options{Dir: dir, SegmentBytes: segmentBytes, Compression: wal.CompressionNone, SyncInterval: time.Second, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			b := record.Batch{Project: "shop", SDKVersion: "1.0.0", AppID: "web"}
			for j := range 100 {
				raw := fmt.Appendf(nil, `{"eventType":"click","timestamp":"2026-11-23T10:00:00Z","sessionId":"s%d","route":"/p/%d","metadata":{"text":"%0400d"}}`, i, j, j)
				b.Events = append(b.Events, record.Event{Session: fmt.Sprint("s", i), Raw: raw})
			}
			data := record.Append(nil, &b)
			for log.Stats().Bytes < int64(segments)*segmentBytes {
				digests := make([]uint64, len(b.Events))
				for j := range digests {
					digests[j] = random.Uint64()
				}
				if _, err := log.Append(t.Context(), wal.Entry{Data: data, Events: len(b.Events), Digests: digests}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	bytes := log.Stats().Bytes
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes
}
