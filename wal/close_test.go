package wal_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

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
