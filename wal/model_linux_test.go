package wal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"forebay/wal"
	"forebay/wal/waltest"
)

// model is a log on a faulty disk, with readers beside it, and what is known of
// what it must hold.
type model struct {
	t    *rapid.T
	disk *waltest.Disk
	opts wal.Options
	log  *wal.Log
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	tried    map[uint64]wal.Entry // by the number in its data
	accepted map[uint64]uint64    // first seq -> number
	keep     uint64
	problems []string
}

// TestModel runs random operations, with readers at the tail and in history
// beside them, and compares what they see with what was accepted.
func TestModel(t *testing.T) {
	t.Parallel()
	disk := waltest.Mount(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; runs > 25 && !torture() {
			return
		}
		m := &model{
			t: rt, disk: disk,
			opts:     options(filepath.Join(disk.Dir(), fmt.Sprintf("log-%d", runs))),
			tried:    make(map[uint64]wal.Entry),
			accepted: make(map[uint64]uint64),
			keep:     1,
		}
		m.opts.SegmentBytes = rapid.Int64Range(300, 3000).Draw(rt, "segment bytes")
		m.opts.Compression = rapid.SampledFrom([]wal.Compression{wal.CompressionNone, wal.CompressionS2}).Draw(rt, "compression")
		m.start()
		defer m.finish()
		rt.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"fault":   m.fault,
			"retain":  m.retain,
			"reopen":  m.reopen,
			"history": m.history,
			"":        m.check,
		})
	})
}

func (m *model) start() {
	l, err := wal.Open(m.opts)
	if err != nil {
		m.t.Fatal(err)
	}
	m.log = l
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	for _, from := range []uint64{1, l.DurableSeq() + 1} {
		m.wg.Go(func() { m.follow(ctx, l, from) })
	}
}

func (m *model) finish() {
	m.disk.Heal()
	m.stop()
	m.wg.Wait()
	if err := m.log.Close(); err != nil {
		m.t.Errorf("close: %v", err)
	}
	m.check(m.t)
}

// problem takes note of a violation that a goroutine has seen.
func (m *model) problem(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = append(m.problems, fmt.Sprintf(format, args...))
}

func (m *model) check(t *rapid.T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.problems {
		t.Error(p)
	}
	m.problems = nil
}

// append appends several entries at once. While the disk fails, they may be
// refused; each is tried until it is accepted.
func (m *model) append(t *rapid.T) {
	clients := rapid.IntRange(1, 6).Draw(t, "clients")
	size := rapid.IntRange(8, 500).Draw(t, "size")
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for {
				m.mu.Lock()
				n := uint64(len(m.tried))
				e := entry(int(n), 1+int(n%3), size)
				m.tried[n] = e
				m.mu.Unlock()
				first, err := m.log.Append(context.Background(), e)
				var u *wal.UnavailableError
				if errors.As(err, &u) {
					m.mu.Lock()
					delete(m.tried, n) // must never be read
					m.tried[n] = wal.Entry{}
					m.mu.Unlock()
					continue
				}
				if err != nil {
					m.problem("append: %v", err)
					return
				}
				m.mu.Lock()
				if other, taken := m.accepted[first]; taken {
					m.problems = append(m.problems, fmt.Sprintf("seq %d given to entries %d and %d", first, other, n))
				}
				m.accepted[first] = n
				m.mu.Unlock()
				return
			}
		})
	}
	wg.Wait()
}

func (m *model) fault(t *rapid.T) {
	f := rapid.SampledFrom(faults).Draw(t, "fault")
	f.Nth = rapid.IntRange(1, 6).Draw(t, "nth")
	f.Count = rapid.IntRange(1, 3).Draw(t, "count")
	if f.Op == waltest.Open {
		f.Nth += 3 // opens are mostly those of readers, which only try again
	}
	m.disk.Inject(f)
}

func (m *model) retain(t *rapid.T) {
	m.keep = max(m.keep, rapid.Uint64Range(1, m.log.DurableSeq()+1).Draw(t, "keep"))
	// It may fail on a failing disk; then less has gone.
	_, _ = m.log.Retain(wal.Retention{KeepFrom: m.keep, Bytes: 1})
	if first := m.log.FirstSeq(); first > m.keep {
		t.Fatalf("seqs from %d are kept, the log begins at %d", m.keep, first)
	}
}

func (m *model) reopen(t *rapid.T) {
	m.finish()
	if report, err := wal.Verify(m.opts.Dir); err != nil || !report.OK() || report.TornTail != nil {
		t.Fatalf("verify: %+v, %v", report, err)
	}
	m.start()
}

// history reads everything and compares it with what was accepted.
func (m *model) history(t *rapid.T) {
	m.disk.Heal()
	durable := m.log.DurableSeq()
	r := m.log.NewReader(m.keep)
	defer r.Close()
	found := make(map[uint64]uint64)
	for {
		b, err := r.Next(ended())
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for seq, entry := range b.Entries() {
			found[seq] = binary.BigEndian.Uint64(entry.Data)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for seq, n := range m.accepted {
		if got, ok := found[seq]; seq >= m.keep && seq <= durable && (!ok || got != n) {
			t.Fatalf("entry %d was accepted at seq %d; there is %d (%v)", n, seq, got, ok)
		}
	}
}

// follow reads on as the log grows. It checks order, contents, and that nothing
// that was refused shows up.
func (m *model) follow(ctx context.Context, l *wal.Log, next uint64) {
	r := l.NewReader(next)
	defer r.Close()
	for {
		b, err := r.Next(ctx)
		if ctx.Err() != nil && err != nil {
			return
		}
		if err != nil {
			continue // the disk fails; the same place is tried again
		}
		for _, g := range b.Gaps {
			if g.First != next || g.Reason != wal.ReasonRetention {
				m.problem("gap %+v where %d is next", g, next)
			}
			next = g.Last + 1
		}
		if b.FirstSeq != next || b.LastSeq() > l.DurableSeq() {
			m.problem("block of seqs %d to %d where %d is next and %d durable", b.FirstSeq, b.LastSeq(), next, l.DurableSeq())
		}
		m.compare(b)
		next = b.LastSeq() + 1
	}
}

func (m *model) compare(b *wal.Block) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for seq, entry := range b.Entries() {
		n := binary.BigEndian.Uint64(entry.Data)
		if e := m.tried[n]; string(e.Data) != string(entry.Data) {
			m.problems = append(m.problems, fmt.Sprintf("seq %d holds %q, which is not entry %d or was refused", seq, entry.Data, n))
		}
		if other, taken := m.accepted[seq]; taken && other != n {
			m.problems = append(m.problems, fmt.Sprintf("seq %d holds entry %d, accepted was %d", seq, n, other))
		}
	}
}
