package torturetest

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"forebay/wal"
)

// TestDecisionsAreThoseOfTheSeed draws steps in two orders.
func TestDecisionsAreThoseOfTheSeed(t *testing.T) {
	all := []action{{name: "a", weight: 3}, {name: "b", weight: 1}, {name: "c", weight: 2}}
	const steps = 200
	drawn := map[int]bool{}
	first := make([]step, steps)
	for n := range steps {
		first[n] = decide(7, n, all)
		drawn[first[n].action] = true
	}
	differ := false
	for n := steps - 1; n >= 0; n-- {
		s, other := decide(7, n, all), decide(8, n, all)
		if s.wait != first[n].wait || s.action != first[n].action || s.lasts != first[n].lasts || s.random.Uint64() != first[n].random.Uint64() {
			t.Fatalf("step %d is %+v and %+v", n, first[n], s)
		}
		differ = differ || s.action != other.action
	}
	if len(drawn) != len(all) || !differ {
		t.Errorf("of %d actions %d are drawn, another seed draws others: %v", len(all), len(drawn), differ)
	}
}

// TestBlocksAreFoundWithoutTheLog compares the places of blocks with what the log says of itself.
func TestBlocksAreFoundWithoutTheLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wal")
	log, err := wal.Open(wal.Options{Dir: dir, SegmentBytes: 2000, Compression: wal.CompressionS2, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	var want []uint64 // first seqs: a lone append is a block
	random := rand.New(rand.NewPCG(1, 1))
	for range 40 {
		data := make([]byte, 1+random.IntN(300))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		first, err := log.Append(context.Background(), wal.Entry{Data: data, Events: 1 + random.IntN(5)})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, first)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := readSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	found := 0
	for _, s := range segments {
		end := 0
		for _, b := range s.blocks {
			if b.prefix != end || b.first != next || found >= len(want) || b.first != want[found] {
				t.Fatalf("block %d of %s is %+v, want seq %d at %d", found, s.path, b, next, end)
			}
			end, next = b.end, b.last+1
			found++
		}
		if end != len(s.bytes) {
			t.Errorf("%s: found up to byte %d of %d", s.path, end, len(s.bytes))
		}
	}
	if found != len(want) || len(segments) < 3 {
		t.Errorf("%d blocks of %d in %d segments", found, len(want), len(segments))
	}
}
