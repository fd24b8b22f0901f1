package shipper

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestRangesAreBounded(t *testing.T) {
	var ranges []Range
	for i := range uint64(3000) {
		ranges = addRange(ranges, Range{10 * i, 10*i + 1 + i%3})
	}
	if len(ranges) != maxRanges {
		t.Fatalf("%d ranges, want %d", len(ranges), maxRanges)
	}
	for i := range uint64(3000) {
		if total(clip(ranges, 10*i, 10*i+1)) != 2 {
			t.Fatalf("%d is in no range", 10*i)
		}
	}
}

// TestRangesAreASet: adding ranges in any order is adding their seqs to a set,
// and cutting one takes them away.
func TestRangesAreASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ranges []Range
		set := map[uint64]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "ranges") {
			first := rapid.Uint64Range(1, 100).Draw(t, "first")
			r := Range{first, first + rapid.Uint64Range(0, 10).Draw(t, "more")}
			ranges = addRange(ranges, r)
			for seq := r.First; seq <= r.Last; seq++ {
				set[seq] = true
			}
		}
		cut := rapid.Uint64Range(1, 120).Draw(t, "cut")
		ranges = rangesBelow(ranges, cut)
		got := map[uint64]bool{}
		for i, r := range ranges {
			if r.First > r.Last || i > 0 && ranges[i-1].Last+1 >= r.First {
				t.Fatalf("ranges %v are not apart and ascending", ranges)
			}
			for seq := r.First; seq <= r.Last; seq++ {
				got[seq] = true
			}
		}
		for seq := range set {
			if seq >= cut {
				delete(set, seq)
			}
		}
		if !reflect.DeepEqual(got, set) {
			t.Fatalf("ranges %v, want %v", ranges, set)
		}
	})
}
