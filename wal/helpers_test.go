package wal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"forebay/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// torture reports whether the long forms of tests are wanted.
func torture() bool { return os.Getenv("FOREBAY_TORTURE") == "1" }

// options are small enough for tests to see many segments.
func options(dir string) wal.Options {
	return wal.Options{Dir: dir, SegmentBytes: 2 << 10, ReserveBytes: -1}
}

func open(t testing.TB, o wal.Options) *wal.Log {
	t.Helper()
	l, err := wal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, wal.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

func closeLog(t testing.TB, l *wal.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// entry makes the entry number n, which no other entry equals.
func entry(n, events, size int) wal.Entry {
	data := binary.BigEndian.AppendUint64(nil, uint64(n))
	for len(data) < size {
		data = fmt.Appendf(data, `{"n":%d}`, n)
	}
	digests := make([]uint64, events)
	for i := range digests {
		digests[i] = uint64(n)<<16 | uint64(i)
	}
	return wal.Entry{Data: data[:max(size, 8)], Events: events, Digests: digests}
}

func mustAppend(t testing.TB, l *wal.Log, e wal.Entry) uint64 {
	t.Helper()
	first, err := l.Append(context.Background(), e)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return first
}

// fill appends n entries, one block each, and returns the ledger of them.
func fill(t testing.TB, l *wal.Log, n int) *ledger {
	t.Helper()
	kept := newLedger()
	for i := range n {
		e := entry(i, 1+i%3, 40+i%90)
		kept.accept(mustAppend(t, l, e), e)
	}
	return kept
}

// ledger is what a client was promised: entries by first seq.
type ledger struct {
	entries map[uint64]wal.Entry
	refused map[string]bool // data of entries that were refused for good
}

func newLedger() *ledger {
	return &ledger{entries: make(map[uint64]wal.Entry), refused: make(map[string]bool)}
}

func (k *ledger) accept(first uint64, e wal.Entry) { k.entries[first] = e }

// contents is what a reader got.
type contents struct {
	blocks  []*wal.Block
	entries map[uint64][]byte // by first seq
	gaps    []wal.Gap
}

// readAll reads what is ready from a seq on, and checks that blocks and gaps
// follow each other without a hole.
func readAll(t testing.TB, l *wal.Log, from uint64) contents {
	t.Helper()
	r := l.NewReader(from)
	defer r.Close()
	got := contents{entries: make(map[uint64][]byte)}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	next := from
	for {
		b, err := r.Next(done)
		if errors.Is(err, context.Canceled) || err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatalf("read on from %d: %v", next, err)
		}
		for _, g := range b.Gaps {
			if g.First != next || g.Last < g.First {
				t.Fatalf("gap %+v where seq %d is next", g, next)
			}
			next = g.Last + 1
		}
		if len(got.blocks) == 0 && b.FirstSeq < next {
			next = b.FirstSeq
		}
		if b.FirstSeq != next {
			t.Fatalf("block %d begins at seq %d where %d is next, gaps %+v", b.Number, b.FirstSeq, next, b.Gaps)
		}
		next = b.LastSeq() + 1
		if b.LastSeq() > l.DurableSeq() {
			t.Fatalf("block %d ends at seq %d behind the durable %d", b.Number, b.LastSeq(), l.DurableSeq())
		}
		last := b.FirstSeq
		for seq, entry := range b.Entries() {
			got.entries[seq] = slices.Clone(entry.Data)
			last = seq
		}
		if last > b.LastSeq() {
			t.Fatalf("block %d: entry at %d behind its last seq %d", b.Number, last, b.LastSeq())
		}
		got.blocks = append(got.blocks, b)
		got.gaps = append(got.gaps, b.Gaps...)
	}
}

// check compares what was read with what was promised: all of it from a seq on
// is there, and nothing that was refused.
func (k *ledger) check(t testing.TB, got contents, from uint64) {
	t.Helper()
	for first, e := range k.entries {
		data, ok := got.entries[first]
		switch {
		case first < from:
		case !ok:
			t.Errorf("accepted entry at seq %d is lost", first)
		case string(data) != string(e.Data):
			t.Errorf("seq %d holds %q, accepted was %q", first, data, e.Data)
		}
	}
	for first, data := range got.entries {
		if k.refused[string(data)] {
			t.Errorf("seq %d holds an entry that was refused", first)
		}
	}
}

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within 20 s", what)
		case <-tick.C:
		}
	}
}

// segmentFiles returns the paths of a directory's segment files in order.
func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "????????????????????"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

// newestWithBlocks returns the path of the last segment file that is not empty.
func newestWithBlocks(t testing.TB, dir string) string {
	t.Helper()
	paths := segmentFiles(t, dir)
	for _, path := range slices.Backward(paths) {
		if len(readFile(t, path)) > 0 {
			return path
		}
	}
	t.Fatal("no segment holds blocks")
	return ""
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
}

// copyDir copies a log's directory, as a crash or a snapshot would leave it.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// fastDir is a temporary folder in memory where there is one: sweeps that open
// a log ten thousand times would otherwise wait for the disk.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "wal-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
