package dedupe

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSetAgreesWithAMap uses digests that all want to be in the same few slots, at
// the end of the table and over it.
func TestSetAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s set
		model := make(map[uint64]bool)
		for range rapid.IntRange(1, 300).Draw(rt, "steps") {
			home := rapid.SampledFrom([]uint64{0, 1, 2, 13, 14, 15, 30, 31}).Draw(rt, "home")
			digest := home | rapid.Uint64Range(1, 12).Draw(rt, "rest")<<32 | rapid.Uint64Range(0, 1).Draw(rt, "part")<<56
			if rapid.IntRange(0, 2).Draw(rt, "call") == 0 {
				s.remove(digest)
				delete(model, digest)
			} else if added := s.add(digest); added == model[digest] {
				rt.Fatalf("add(%x) = %v, want %v", digest, added, !model[digest])
			} else {
				model[digest] = true
			}
			if s.count != len(model) {
				rt.Fatalf("count %d, want %d", s.count, len(model))
			}
			for _, d := range slices.Sorted(maps.Keys(model)) {
				if !s.has(d) {
					rt.Fatalf("%x is lost", d)
				}
			}
			if !model[digest] && s.has(digest) {
				rt.Fatalf("%x is still there", digest)
			}
		}
	})
}

func TestQueueAcrossItsChunks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q := queue{grain: 3}
		pushed, popped := uint64(0), uint64(0)
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			for range rapid.IntRange(0, chunkEntries+3).Draw(rt, "push") {
				pushed++
				q.push(pushed, int64(pushed))
			}
			for range rapid.IntRange(0, min(q.count, chunkEntries+3)).Draw(rt, "pop") {
				popped++
				// A mark spans the grain: never earlier than the entry, later by no more than that.
				if at := q.latest(); at < int64(popped) || at > int64(popped)+q.grain {
					rt.Fatalf("entry %d has time %d", popped, at)
				}
				if got := q.pop(); got != popped {
					rt.Fatalf("popped %d, want %d", got, popped)
				}
			}
			if q.count != int(pushed-popped) || len(q.chunks) > q.count/chunkEntries+2 {
				rt.Fatalf("%d entries in %d chunks, want %d", q.count, len(q.chunks), pushed-popped)
			}
		}
	})
}
