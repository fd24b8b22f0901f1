package shipper

import "slices"

// Range is a closed stretch of seqs. Lists of ranges are sorted and disjoint.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Len is the number of seqs in the range.
func (r Range) Len() uint64 { return r.Last - r.First + 1 }

// addRange puts r into the ranges and joins what touches. Past maxRanges it
// joins the nearest.
func addRange(ranges []Range, r Range) []Range {
	out := insertRange(ranges, r)
	if len(out) > maxRanges {
		out = joinNearest(out)
	}
	return out
}

// insertRange puts r into the ranges and joins what touches.
func insertRange(ranges []Range, r Range) []Range { return union(ranges, []Range{r}) }

// union is every seq of a or b; ranges that touch are joined.
func union(a, b []Range) []Range {
	if len(a) == 0 || len(b) == 0 {
		return append(slices.Clone(a), b...)
	}
	out := make([]Range, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0].First < a[0].First {
			from = &b
		}
		r := (*from)[0]
		*from = (*from)[1:]
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// without is every seq of a that is not in b.
func without(a, b []Range) []Range {
	var out []Range
	for _, r := range a {
		for len(b) > 0 && b[0].Last < r.First {
			b = b[1:]
		}
		rest, over := r, false
		for _, cut := range b {
			if cut.First > rest.Last {
				break
			}
			if cut.First > rest.First {
				out = append(out, Range{rest.First, cut.First - 1})
			}
			if over = cut.Last >= rest.Last; over {
				break
			}
			rest.First = cut.Last + 1
		}
		if !over {
			out = append(out, rest)
		}
	}
	return out
}

// clip is what of the ranges lies in first..last.
func clip(ranges []Range, first, last uint64) []Range {
	var out []Range
	for _, r := range ranges {
		if r = (Range{max(r.First, first), min(r.Last, last)}); r.First <= r.Last {
			out = append(out, r)
		}
	}
	return out
}

// rangesBelow is what of the ranges lies below seq.
func rangesBelow(ranges []Range, seq uint64) []Range {
	if seq == 0 {
		return nil
	}
	return clip(ranges, 0, seq-1)
}

// rangesFrom is what of the ranges lies at seq or above.
func rangesFrom(ranges []Range, seq uint64) []Range { return clip(ranges, seq, ^uint64(0)) }

// inRanges tells whether one of the ranges, however many, has seq.
func inRanges(ranges []Range, seq uint64) bool {
	_, found := slices.BinarySearchFunc(ranges, seq, func(r Range, seq uint64) int {
		switch {
		case r.Last < seq:
			return -1
		case r.First > seq:
			return 1
		}
		return 0
	})
	return found
}

func joinNearest(ranges []Range) []Range {
	at, best := 0, ^uint64(0)
	for i := 1; i < len(ranges); i++ {
		if d := ranges[i].First - ranges[i-1].Last; d < best {
			at, best = i-1, d
		}
	}
	ranges[at].Last = ranges[at+1].Last
	return slices.Delete(ranges, at+1, at+2)
}
