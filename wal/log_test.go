package wal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"forebay/wal"
)

func TestAppendAndReadAcrossRestarts(t *testing.T) {
	for _, compression := range []wal.Compression{wal.CompressionNone, wal.CompressionS2, wal.CompressionZstd} {
		t.Run(compression.String(), func(t *testing.T) {
			o := options(filepath.Join(fastDir(t), "log"))
			o.Compression = compression
			kept := newLedger()
			for round := range 3 {
				l := open(t, o)
				for n := range 30 {
					e := entry(round*100+n, 1+n%5, 30+n*20)
					kept.accept(mustAppend(t, l, e), e)
				}
				for from := uint64(1); from <= l.DurableSeq(); from += 7 {
					kept.check(t, readAll(t, l, from), from)
				}
				closeLog(t, l)
			}
			report, err := wal.Verify(o.Dir)
			if err != nil || !report.OK() || report.TornTail != nil || report.Entries != 90 {
				t.Errorf("verify: %+v, %v", report, err)
			}
		})
	}
}

// TestGroupCommit holds that entries that are appended during a commit share the
// next one: of 64 clients, 63 append while the first one's block is committed,
// and each round takes two syncs.
func TestGroupCommit(t *testing.T) {
	const clients, rounds = 64, 50
	committing, goOn := make(chan struct{}), make(chan struct{})
	l := open(t, wal.Options{
		Dir: filepath.Join(fastDir(t), "log"), ReserveBytes: -1,
		OnCommit: func(c wal.Commit) {
			if c.Entries > 1 {
				return
			}
			for _, gate := range []chan struct{}{committing, goOn} {
				select {
				case gate <- struct{}{}:
				case <-t.Context().Done():
				}
			}
		},
	})
	kept, mu := newLedger(), sync.Mutex{}
	for round := range rounds {
		var wg sync.WaitGroup
		size := int64(0)
		for c := range clients {
			e := entry(round*clients+c, 1+c%4, 200)
			size += int64(len(e.Data))
			wg.Go(func() {
				first, err := l.Append(t.Context(), e)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				kept.accept(first, e)
			})
			if c == 0 {
				<-committing
			}
		}
		eventually(t, "the others wait", func() bool { return l.Stats().PendingBytes >= size })
		<-goOn
		wg.Wait()
	}
	s := l.Stats()
	if s.Entries != clients*rounds || s.Commits != 2*rounds || s.Syncs != 2*rounds {
		t.Errorf("%d entries in %d commits with %d syncs, want %d with 2 a round", s.Entries, s.Commits, s.Syncs, clients*rounds)
	}
	got := readAll(t, l, 1)
	kept.check(t, got, 1)
	if len(got.entries) != clients*rounds {
		t.Errorf("%d entries", len(got.entries))
	}
	for _, b := range got.blocks {
		checkDigests(t, b)
	}
}

// checkDigests checks that a block's digests are those of its entries, in order.
func checkDigests(t *testing.T, b *wal.Block) {
	t.Helper()
	digests := b.Digests
	for seq, entry := range b.Entries() {
		n := uint64(0)
		for _, c := range entry.Data[:8] {
			n = n<<8 | uint64(c)
		}
		for i := 0; len(digests) > 0 && digests[0] == n<<16|uint64(i); i++ {
			digests = digests[1:]
		}
		_ = seq
	}
	if len(digests) > 0 {
		t.Errorf("block %d: %d digests are not those of its entries", b.Number, len(digests))
	}
}

func TestAppendRefusals(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	o.MaxBlockBytes = 1000
	l := open(t, o)
	for _, test := range []struct {
		name  string
		entry wal.Entry
		want  error
	}{
		{"no events", wal.Entry{Data: []byte("x")}, nil},
		{"negative events", wal.Entry{Data: []byte("x"), Events: -1}, nil},
		{"too much data", wal.Entry{Data: make([]byte, 1001), Events: 1}, wal.ErrTooLarge},
		{"too many events", wal.Entry{Events: 1<<20 + 1}, wal.ErrTooLarge},
		{"too many digests", wal.Entry{Events: 1, Digests: make([]uint64, 1<<16+1)}, wal.ErrTooLarge},
	} {
		if _, err := l.Append(t.Context(), test.entry); err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ended, entry(1, 1, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if l.DurableSeq() != 0 {
		t.Errorf("something was stored: durable is %d", l.DurableSeq())
	}
	for _, e := range []wal.Entry{
		{Data: make([]byte, 1000), Events: 1},
		{Events: 1 << 20},
		{Events: 1, Digests: make([]uint64, 1<<16)},
	} {
		mustAppend(t, l, e)
	}
	if got := readAll(t, l, 1); len(got.entries) != 3 {
		t.Errorf("%d entries at the limits", len(got.entries))
	}
}

func TestClosedLogRefusesEverything(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	mustAppend(t, l, entry(1, 1, 10))
	waiting := l.NewReader(2)
	other := l.NewReader(2)
	results := make(chan error, 2)
	go func() { _, err := waiting.Next(t.Context()); results <- err }()
	go func() { _, err := other.Next(t.Context()); results <- err }()
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	for range 2 {
		if err := <-results; !errors.Is(err, wal.ErrClosed) {
			t.Errorf("a waiter got %v", err)
		}
	}
	if _, err := l.Append(t.Context(), entry(2, 1, 10)); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := waiting.Next(t.Context()); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("next: %v", err)
	}
	if err := l.Close(); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	waiting.Close()
}

func TestReadAtTheTail(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	r := l.NewReader(1)
	defer r.Close()
	got := make(chan *wal.Block)
	go func() {
		for {
			b, err := r.Next(t.Context())
			if err != nil {
				close(got)
				return
			}
			got <- b
		}
	}()
	for n := range 20 {
		first := mustAppend(t, l, entry(n, 1, 100))
		if b := <-got; b.FirstSeq != first {
			t.Fatalf("read seq %d after appending %d", b.FirstSeq, first)
		}
	}
	closeLog(t, l)
	<-got
}

// TestNextPrefersABlockToTheEndOfItsContext ends the context of a reader that
// waits right after an append, before the reader is told of the block.
func TestNextPrefersABlockToTheEndOfItsContext(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	r := l.NewReader(1)
	defer r.Close()
	for n := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() {
			_, err := r.Next(ctx)
			got <- err
		}()
		mustAppend(t, l, entry(n, 1, 100))
		cancel()
		if err := <-got; err != nil {
			t.Fatalf("block %d was ready, and Next returned: %v", n+1, err)
		}
	}
}

func TestOneOwner(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	l := open(t, o)
	for name, use := range map[string]func() error{
		"open":         func() error { _, err := wal.Open(o); return err },
		"open to read": func() error { _, err := wal.Open(wal.Options{Dir: o.Dir, ReadOnly: true}); return err },
		"reidentify":   func() error { _, err := wal.Reidentify(o.Dir); return err },
	} {
		if err := use(); !errors.Is(err, wal.ErrLocked) {
			t.Errorf("%s: %v", name, err)
		}
	}
	closeLog(t, l)
	closeLog(t, open(t, o))
}

func TestReadOnlyChangesNothing(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	l := open(t, o)
	kept := fill(t, l, 40)
	closeLog(t, l)
	newest := newestWithBlocks(t, o.Dir)
	writeFile(t, newest, append(readFile(t, newest), "half of a block"...))
	before := snapshot(t, o.Dir)

	l = open(t, wal.Options{Dir: o.Dir, ReadOnly: true})
	second := open(t, wal.Options{Dir: o.Dir, ReadOnly: true})
	kept.check(t, readAll(t, l, 1), 1)
	if cut := l.Recovery().Cut; len(cut) != 1 || cut[0].Bytes != int64(len("half of a block")) {
		t.Errorf("cut: %+v", cut)
	}
	r := l.NewReader(l.DurableSeq() + 1)
	if _, err := r.Next(t.Context()); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if _, err := l.Append(t.Context(), entry(1, 1, 10)); !errors.Is(err, wal.ErrReadOnly) {
		t.Errorf("append: %v", err)
	}
	if _, err := l.Retain(wal.Retention{}); !errors.Is(err, wal.ErrReadOnly) {
		t.Errorf("retain: %v", err)
	}
	closeLog(t, l)
	closeLog(t, second)
	if after := snapshot(t, o.Dir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("the directory has changed: %v, was %v", after, before)
	}
	if _, err := wal.Open(wal.Options{Dir: filepath.Join(o.Dir, "none"), ReadOnly: true}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	empty := fastDir(t)
	l = open(t, wal.Options{Dir: empty, ReadOnly: true})
	if got := readAll(t, l, 1); len(got.blocks) != 0 {
		t.Errorf("an empty folder holds %d blocks", len(got.blocks))
	}
	if seq, err := l.SeekTime(l.Stats().NewestTime); seq != 1 || err != nil {
		t.Errorf("seek: %d, %v", seq, err)
	}
}

// snapshot returns the names and sizes below a folder.
func snapshot(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	files := make(map[string]int64)
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			files[path] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestOptionsAreChecked(t *testing.T) {
	dir := fastDir(t)
	for _, o := range []wal.Options{
		{},
		{Dir: dir, SegmentBytes: -1},
		{Dir: dir, SegmentBytes: math.MaxInt64},
		{Dir: dir, MaxPendingBytes: -1},
		{Dir: dir, MaxBlockBytes: 64 << 20},
		{Dir: dir, SyncInterval: -1},
		{Dir: dir, Compression: 3},
	} {
		if l, err := wal.Open(o); err == nil {
			l.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestEmptyLog(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	if l.DurableSeq() != 0 || l.FirstSeq() != 1 {
		t.Errorf("durable %d, first %d", l.DurableSeq(), l.FirstSeq())
	}
	if l.ID().IsZero() {
		t.Error("no identity")
	}
	infos, err := l.Segments()
	if err != nil || len(infos) != 1 || infos[0].FirstSeq != 0 {
		t.Errorf("segments: %+v, %v", infos, err)
	}
	if res, err := l.Retain(wal.Retention{KeepFrom: 100, Bytes: 1}); err != nil || res.Segments != 0 {
		t.Errorf("retain: %+v, %v", res, err)
	}
}

// TestReadersAndDurableSeqAgree looks at both all the time while blocks come:
// what a reader has is durable, and what is durable is there for a reader, which
// does not have to wait for it.
func TestReadersAndDurableSeqAgree(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	o.SyncInterval = time.Minute
	l := open(t, o)
	const events = 20_000
	var appends sync.WaitGroup
	appends.Go(func() {
		for n := range events {
			if _, err := l.Append(t.Context(), entry(n, 1, 8)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer appends.Wait()
	now, cancel := context.WithCancel(t.Context())
	cancel() // only what is ready
	r := l.NewReader(1)
	defer r.Close()
	for next := uint64(1); next <= events; {
		durable := l.DurableSeq()
		b, err := r.Next(now)
		switch {
		case err != nil && durable >= next:
			t.Fatalf("seq %d is durable, as %d is, and a reader does not have it: %v", next, durable, err)
		case err == nil && b.LastSeq() > l.DurableSeq():
			t.Fatalf("a reader has seq %d, and %d is durable", b.LastSeq(), l.DurableSeq())
		case err == nil:
			next = b.LastSeq() + 1
			b.Release()
		}
	}
}
