package wal_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"forebay/wal"
)

func TestRetainNeverDeletesWhatIsNeeded(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	kept := fill(t, l, 200)
	for keep := uint64(0); keep < l.DurableSeq(); keep += 29 {
		before, err := l.Segments()
		if err != nil {
			t.Fatal(err)
		}
		res, err := l.Retain(wal.Retention{KeepFrom: keep, Bytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		after, err := l.Segments()
		if err != nil {
			t.Fatal(err)
		}
		if len(before)-len(after) != res.Segments {
			t.Errorf("%d segments, %d before, says it deleted %d", len(after), len(before), res.Segments)
		}
		if keep > 0 && l.FirstSeq() > keep {
			t.Fatalf("keeps from %d, asked for %d", l.FirstSeq(), keep)
		}
		if len(after) > 1 && after[1].FirstSeq != 0 && after[1].FirstSeq <= keep {
			t.Errorf("%+v could have gone, keeping from %d", after[0], keep)
		}
		if files := segmentFiles(t, filepath.Dir(before[0].Name)); len(files) > 0 {
			t.Error(files)
		}
		kept.check(t, readAll(t, l, l.FirstSeq()), l.FirstSeq())
		// A reader from before meets the gap.
		got := readAll(t, l, 1)
		if first := l.FirstSeq(); first > 1 && (len(got.gaps) != 1 || got.gaps[0] != (wal.Gap{First: 1, Last: first - 1, Reason: wal.ReasonRetention})) {
			t.Errorf("gaps %+v, the log begins at %d", got.gaps, first)
		}
	}
	if lost := l.Stats().LostSeqs; lost != 0 {
		t.Errorf("retention counts as loss: %d", lost)
	}
}

func TestRetainByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, options(filepath.Join(fastDir(t), "log")))
		for n := range 60 {
			mustAppend(t, l, entry(n, 1, 100))
			time.Sleep(time.Minute)
		}
		res, err := l.Retain(wal.Retention{KeepFrom: 1 << 40, Age: 30 * time.Minute})
		if err != nil || res.Segments == 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		infos, err := l.Segments()
		if err != nil {
			t.Fatal(err)
		}
		// Nothing younger than the age has gone, and at most one segment more
		// than that is left.
		if l.FirstSeq() > 31 || infos[1].FirstSeq <= 29 {
			t.Errorf("the log begins at %d, its second segment at %d", l.FirstSeq(), infos[1].FirstSeq)
		}
		if oldest := l.Stats().OldestTime; !oldest.Equal(infos[0].Time) {
			t.Errorf("stats name %v as the oldest time, want %v", oldest, infos[0].Time)
		}
		closeLog(t, l)
	})
}

func TestRetainByBytes(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	fill(t, l, 200)
	total := l.Stats().Bytes
	res, err := l.Retain(wal.Retention{KeepFrom: 1 << 40, Bytes: total / 2})
	if err != nil || res.Excess != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if left := l.Stats().Bytes; left > total/2 || left < total/2-3<<10 || left+res.Bytes != total {
		t.Errorf("%d bytes are left of %d, says it deleted %d", left, total, res.Bytes)
	}
	// What is needed stays, and the excess is named.
	res, err = l.Retain(wal.Retention{KeepFrom: l.FirstSeq(), Bytes: 1})
	if err != nil || res.Segments != 0 || res.Excess != l.Stats().Bytes-1 {
		t.Errorf("%+v, %v", res, err)
	}
	// No file system has this much space.
	res, err = l.Retain(wal.Retention{KeepFrom: 1 << 40, FreeBytes: 1 << 60})
	if err != nil || res.Excess == 0 || l.Stats().Segments > 2 {
		t.Errorf("%+v, %v, %d segments", res, err, l.Stats().Segments)
	}
}

// TestRetainUnderReaders deletes segments that readers are in.
func TestRetainUnderReaders(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	kept := fill(t, l, 100)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !t.Failed() {
				r := l.NewReader(1)
				next := uint64(1)
				for {
					b, err := r.Next(ended())
					if errors.Is(err, context.Canceled) {
						break
					}
					if errors.Is(err, wal.ErrClosed) {
						r.Close()
						return
					}
					if err != nil {
						t.Errorf("next: %v", err)
						break
					}
					for _, g := range b.Gaps {
						if g.First != next || g.Reason != wal.ReasonRetention {
							t.Errorf("gap %+v where %d is next", g, next)
						}
						next = g.Last + 1
					}
					if b.FirstSeq != next {
						t.Errorf("seq %d where %d is next", b.FirstSeq, next)
					}
					next = b.LastSeq() + 1
				}
				r.Close()
			}
		})
	}
	for n := range 300 {
		e := entry(1000+n, 1, 80)
		first := mustAppend(t, l, e)
		kept.accept(first, e)
		if n%5 == 0 {
			if _, err := l.Retain(wal.Retention{KeepFrom: first - 30, Bytes: 1}); err != nil {
				t.Error(err)
			}
		}
	}
	kept.check(t, readAll(t, l, l.FirstSeq()), l.FirstSeq())
	closeLog(t, l)
	wg.Wait()
}

// ended returns a context that has ended.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestSeekTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(filepath.Join(fastDir(t), "log"))
		l := open(t, o)
		began := time.Now()
		times := make(map[uint64]time.Time)
		for n := range 80 {
			if n%3 > 0 {
				time.Sleep(time.Duration(n%3) * 700 * time.Millisecond)
			}
			times[mustAppend(t, l, entry(n, 1, 100))] = time.Now()
		}
		closeLog(t, l)
		o.ReadOnly = true
		l = open(t, o) // knows nothing of the segments yet
		for at := began.Add(-time.Second); at.Before(time.Now().Add(2 * time.Second)); at = at.Add(350 * time.Millisecond) {
			want := uint64(81)
			for seq, committed := range times {
				if !committed.Truncate(time.Millisecond).Before(at) {
					want = min(want, seq)
				}
			}
			if seq, err := l.SeekTime(at); err != nil || seq != want {
				t.Errorf("%v after the beginning: seq %d, want %d, %v", at.Sub(began), seq, want, err)
			}
		}
		closeLog(t, l)
	})
}

// TestTimeOf asks for the time of each seq, and of some that are not there:
// those that retention has deleted, and those to come.
func TestTimeOf(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	fill(t, l, 150)
	if _, err := l.Retain(wal.Retention{Bytes: l.Stats().Bytes / 2, KeepFrom: l.DurableSeq()}); err != nil {
		t.Fatal(err)
	}
	blocks := readAll(t, l, 1).blocks
	for seq := uint64(0); seq <= l.DurableSeq()+1; seq++ {
		for len(blocks) > 0 && blocks[0].LastSeq() < seq {
			blocks = blocks[1:]
		}
		var want time.Time
		if len(blocks) > 0 {
			want = blocks[0].Time
		}
		if at, err := l.TimeOf(seq); err != nil || !at.Equal(want) {
			t.Fatalf("seq %d of %d..%d: %v, want %v, %v", seq, l.FirstSeq(), l.DurableSeq(), at, want, err)
		}
	}
}

func TestDigests(t *testing.T) {
	l := open(t, options(filepath.Join(fastDir(t), "log")))
	fill(t, l, 150)
	whole := readAll(t, l, 1)
	for _, from := range []uint64{1, 2, 77, l.DurableSeq(), l.DurableSeq() + 1} {
		blocks := whole.blocks
		for len(blocks) > 0 && blocks[0].LastSeq() < from {
			blocks = blocks[1:]
		}
		err := l.Digests(t.Context(), from, func(h wal.Header, digests []uint64) error {
			if len(blocks) == 0 {
				t.Fatalf("one block too many: %+v", h)
			}
			b := blocks[0]
			blocks = blocks[1:]
			if h != b.Header || !slices.Equal(digests, b.Digests) {
				t.Errorf("%+v with %d digests, want %+v", h, len(digests), b.Header)
			}
			return nil
		})
		if err != nil || len(blocks) > 0 {
			t.Errorf("from %d: %v, %d blocks left out", from, err, len(blocks))
		}
	}
	stop := errors.New("enough")
	if err := l.Digests(t.Context(), 1, func(wal.Header, []uint64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	if err := l.Digests(ended(), 1, func(wal.Header, []uint64) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
