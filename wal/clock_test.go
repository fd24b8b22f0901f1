package wal_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"forebay/wal"
)

// TestClockJumps lets the wall clock jump away from the monotonic one.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var skew atomic.Int64
		o := options(filepath.Join(fastDir(t), "log"))
		o.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
		l := open(t, o)
		n := 0
		commit := func() time.Time {
			t.Helper()
			n++
			first := mustAppend(t, l, entry(n, 1, 20))
			return readAll(t, l, first).blocks[0].Time
		}
		expect := func(what string, got, want time.Time) {
			t.Helper()
			if !got.Equal(want.Truncate(time.Millisecond)) {
				t.Errorf("%s: block is from %v, want %v", what, got, want)
			}
		}
		expect("at the start", commit(), time.Now())

		skew.Store(int64(50 * time.Minute))
		expect("a small jump ahead", commit(), o.Now())
		ahead := o.Now()
		skew.Store(0)
		time.Sleep(10 * time.Minute)
		expect("a small jump back", commit(), ahead)
		time.Sleep(time.Hour)
		expect("once time has caught up", commit(), o.Now())

		for _, jump := range []time.Duration{-26 * time.Hour, 6 * 365 * 24 * time.Hour} {
			skew.Store(int64(jump))
			expect("a jump back, or too far ahead", commit(), time.Now())
			time.Sleep(9 * time.Minute)
			expect("one that has not lasted", commit(), time.Now())
			skew.Store(0)
			expect("back in time", commit(), time.Now())
			time.Sleep(9 * time.Minute)
			skew.Store(int64(jump))
			expect("again, and the wait begins anew", commit(), time.Now())
			skew.Store(0)
			time.Sleep(time.Minute)
			expect("back again", commit(), time.Now())
		}
		skew.Store(int64(26 * time.Hour))
		expect("a jump ahead", commit(), o.Now())
		skew.Store(0)
		expect("back again", commit(), time.Now().Add(26*time.Hour))
		time.Sleep(10 * time.Minute)
		expect("once that has lasted", commit(), time.Now())
		closeLog(t, l)
	})
}

// TestSyncInterval holds what the weaker mode says: appends return unsynced, and
// a sync follows within the interval, without further appends too.
func TestSyncInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(filepath.Join(fastDir(t), "log"))
		o.SegmentBytes, o.SyncInterval = 1<<20, time.Second
		l := open(t, o)
		for n := range 10 {
			mustAppend(t, l, entry(n, 1, 50))
		}
		if s := l.Stats(); s.Commits != 10 || s.Syncs != 0 {
			t.Errorf("%d commits, %d syncs", s.Commits, s.Syncs)
		}
		if l.DurableSeq() != 10 || len(readAll(t, l, 1).entries) != 10 {
			t.Error("what is written cannot be read")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s := l.Stats(); s.Syncs != 1 {
			t.Errorf("%d syncs after the interval", s.Syncs)
		}
		time.Sleep(time.Hour)
		if s := l.Stats(); s.Syncs != 1 {
			t.Errorf("%d syncs of nothing", s.Syncs)
		}
		for n := range 30 { // a busy log syncs once an interval
			mustAppend(t, l, entry(n, 1, 50))
			time.Sleep(300 * time.Millisecond)
		}
		if s := l.Stats(); s.Syncs < 7 || s.Syncs > 11 {
			t.Errorf("%d syncs in 9 s of appends", s.Syncs)
		}
		mustAppend(t, l, entry(99, 1, 50))
		before := l.Stats().Syncs
		closeLog(t, l)
		if l.Stats().Syncs != before+1 {
			t.Error("close has not synced")
		}
	})
}

// TestOverload fills the queue while the committer is held up.
func TestOverload(t *testing.T) {
	held, hold := make(chan struct{}), make(chan struct{})
	o := options(filepath.Join(fastDir(t), "log"))
	o.MaxPendingBytes, o.MaxBlockBytes = 10_000, 4000
	first := true
	o.OnCommit = func(wal.Commit) {
		if first {
			first = false
			close(held)
			<-hold
		}
	}
	l := open(t, o)
	results := make(chan error, 100)
	add := func(n int) { _, err := l.Append(t.Context(), entry(n, 1, 1000)); results <- err }
	go add(0)
	<-held
	for n := range 8 {
		go add(n + 1)
	}
	eventually(t, "the queue is full", func() bool { return l.Stats().PendingBytes > 9000 })
	if _, err := l.Append(t.Context(), entry(11, 1, 1000)); err != wal.ErrOverloaded {
		t.Errorf("append to a full queue: %v", err)
	}
	if s := l.Stats(); s.Overloaded != 1 || s.PendingBytes > 10_000 {
		t.Errorf("%d refused, %d bytes pending", s.Overloaded, s.PendingBytes)
	}
	close(hold)
	for range 9 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "nothing is pending", func() bool { return l.Stats().PendingBytes == 0 })
	mustAppend(t, l, entry(12, 1, 1000))
	for _, b := range readAll(t, l, 1).blocks {
		if b.RawSize > 4000 {
			t.Errorf("a block of %d bytes", b.RawSize)
		}
	}
}

// TestLoneAppendDoesNotWaitForTime runs in a bubble where timers fire only when
// nothing else can go on: none may have to.
func TestLoneAppendDoesNotWaitForTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, options(filepath.Join(fastDir(t), "log")))
		began := time.Now()
		for n := range 20 {
			mustAppend(t, l, entry(n, 1, 100))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("appends have waited for %v", took)
		}
		closeLog(t, l)
	})
}
