package wal_test

import (
	"testing"

	"forebay/wal"
)

// TestHeldFrom: all of the log is all of its files, nothing behind its end, and
// in between it falls with each seq by what that takes.
func TestHeldFrom(t *testing.T) {
	o := options(t.TempDir())
	o.Compression = wal.CompressionNone
	l := open(t, o)
	defer closeLog(t, l)
	held := func(seq uint64) wal.Held {
		h, err := l.HeldFrom(seq)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if h := held(1); h != (wal.Held{}) {
		t.Errorf("an empty log holds %+v", h)
	}
	for i := range 200 {
		mustAppend(t, l, entry(i, 1, 1000))
	}
	all := l.Stats()
	if all.Segments < 3 {
		t.Fatalf("%d segments", all.Segments)
	}
	if h := held(1); h.Bytes != all.Bytes || h.Share != all.Bytes {
		t.Errorf("from the first seq on it holds %+v of %d bytes", h, all.Bytes)
	}
	if h := held(all.DurableSeq + 1); h != (wal.Held{}) {
		t.Errorf("behind its end it holds %+v", h)
	}
	before := held(1)
	for seq := uint64(2); seq <= all.DurableSeq+1; seq++ {
		h := held(seq)
		step := before.Share - h.Share
		if step < 900 || step > 1300 || h.Bytes < h.Share || h.Bytes > before.Bytes {
			t.Fatalf("before seq %d it holds %+v, from it on %+v", seq, before, h)
		}
		before = h
	}
}
