package wal_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"forebay/wal"
)

// TestCloseWhileOthersDecode closes the log under readers and searches that are
// decoding: no block is taken for damaged by that.
func TestCloseWhileOthersDecode(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	o.Compression, o.SegmentBytes = wal.CompressionZstd, 64<<10
	l := open(t, o)
	for n := range 40 {
		mustAppend(t, l, entry(n, 1, 4000))
	}
	all := func(wal.Header, []uint64) bool { return true }
	search := func() {
		blocks := 0
		damaged, err := l.Find(t.Context(), 1<<20, all, func(*wal.Block) error { blocks++; return nil })
		if err != nil || len(damaged) > 0 || blocks != 40 {
			t.Errorf("found %d blocks, damaged %+v: %v", blocks, damaged, err)
		}
	}
	var under, others sync.WaitGroup
	closed := make(chan struct{})
	for range 2 {
		under.Add(2)
		others.Go(func() {
			search()
			under.Done()
			for range 2 {
				search()
			}
			<-closed
			search() // it needs no more than the files
		})
		others.Go(func() {
			for round := 0; ; round++ {
				r := l.NewReader(1)
				for {
					_, err := r.Next(ended())
					if errors.Is(err, wal.ErrClosed) {
						r.Close()
						return
					}
					if errors.Is(err, context.Canceled) {
						break
					}
					if err != nil {
						t.Errorf("next: %v", err)
					}
				}
				r.Close()
				if round == 0 {
					under.Done()
				}
			}
		})
	}
	under.Wait()
	closeLog(t, l)
	close(closed)
	others.Wait()
	if s := l.Stats(); s.Damaged != 0 || s.LostSeqs != 0 {
		t.Errorf("%d damaged, %d lost", s.Damaged, s.LostSeqs)
	}
}

// TestClosedLogChangesNothing: after Close the directory may be another's.
func TestClosedLogChangesNothing(t *testing.T) {
	o := options(filepath.Join(fastDir(t), "log"))
	o.ReserveBytes = 64 << 10
	l := open(t, o)
	fill(t, l, 100)
	closeLog(t, l)
	before := snapshot(t, o.Dir)
	if res, err := l.Retain(wal.Retention{KeepFrom: 1 << 40, Bytes: 1}); !errors.Is(err, wal.ErrClosed) || res.Segments != 0 {
		t.Errorf("retain: %+v, %v", res, err)
	}
	if given, err := l.ReleaseReserve(); !errors.Is(err, wal.ErrClosed) || given {
		t.Errorf("release the reserve: %v, %v", given, err)
	}
	if after := snapshot(t, o.Dir); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("the directory has changed: %v, was %v", after, before)
	}
}

// TestCloseWaitsForRetention holds a Retain up in the middle: the directory is
// not given up under it, and it does not go on for long.
func TestCloseWaitsForRetention(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	o := options(filepath.Join(fastDir(t), "log"))
	o.Now = func() time.Time {
		if hold.CompareAndSwap(true, false) {
			close(inside)
			<-goOn
		}
		return time.Now()
	}
	l := open(t, o)
	fill(t, l, 100)
	segments := l.Stats().Segments
	hold.Store(true)
	var retained wal.RetainResult
	retains, closes := make(chan error, 1), make(chan error, 1)
	go func() {
		var err error
		retained, err = l.Retain(wal.Retention{KeepFrom: 1 << 40, Age: time.Hour, Bytes: 1})
		retains <- err
	}()
	<-inside
	go func() { closes <- l.Close() }()
	eventually(t, "the log closes", func() bool {
		_, err := l.Append(t.Context(), entry(1, 1, 10))
		return errors.Is(err, wal.ErrClosed)
	})
	for range 200 {
		if other, err := wal.Open(o); err == nil {
			other.Close()
			t.Error("the directory was given up while files were being deleted")
			break
		}
	}
	close(goOn)
	if err := <-retains; !errors.Is(err, wal.ErrClosed) || retained.Segments > 1 {
		t.Errorf("retain: %+v of %d segments, %v", retained, segments, err)
	}
	if err := <-closes; err != nil {
		t.Errorf("close: %v", err)
	}
}
