package node

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"forebay/node/config"
	"forebay/wal"
)

// TestReplaysHoldHistoryButNotTheDisk: what a replay wants is kept against
// retain, and goes when the disk fills; what a live cursor needs stays.
func TestReplaysHoldHistoryButNotTheDisk(t *testing.T) {
	dir := t.TempDir()
	log, err := wal.Open(wal.Options{Dir: dir, SegmentBytes: 64 << 10, ReserveBytes: -1, SyncInterval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range 100 {
		data := bytes.Repeat([]byte{byte(i)}, 10_000)
		if _, err := log.Append(context.Background(), wal.Entry{Data: data, Events: 1}); err != nil {
			t.Fatal(err)
		}
	}
	need, want := uint64(101), uint64(1)
	k := &diskKeeper{
		dir: dir, inPlace: func() error { return nil }, log: log, gate: &gate{log: log}, logger: slog.New(slog.DiscardHandler),
		keepFrom: func() uint64 { return need }, wantFrom: func() uint64 { return want },
		retained: func(time.Duration) {}, pressed: func() { t.Error("sessions are set aside for a replay") },
	}
	for _, c := range []struct {
		name       string
		cfg        config.WAL
		need, want uint64
		goes       bool
	}{
		{"old, wanted by a replay", config.WAL{Retain: config.Retain{Age: 1}}, 101, 1, false},
		{"too much, wanted by a replay", config.WAL{Retain: config.Retain{Bytes: 1 << 10}}, 101, 1, false},
		{"the disk fills, needed by a cursor", config.WAL{DiskBudget: config.Bytes(log.Stats().Bytes * 9 / 8)}, 1, 101, false},
		{"the disk fills, wanted by a replay", config.WAL{DiskBudget: config.Bytes(log.Stats().Bytes * 9 / 8)}, 101, 1, true},
		{"old, wanted by nobody", config.WAL{Retain: config.Retain{Age: 1}}, 101, 101, true},
	} {
		before := log.FirstSeq()
		k.cfg, need, want = c.cfg, c.need, c.want
		k.keep(time.Now())
		if after := log.FirstSeq(); (after > before) != c.goes || k.state().err != nil {
			t.Errorf("%s: the log began at %d and begins at %d, %v", c.name, before, after, k.state().err)
		}
	}
}
