package header

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Range is a closed stretch of seqs, First ≤ Last.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Ranges is a set of seqs: disjoint ranges in ascending order that do not
// touch. The zero value is the empty set. Add, Remove and Join may change the
// set in place; Clone keeps one as it was.
type Ranges []Range

// Add returns the set with first..last in it.
func (rs Ranges) Add(first, last uint64) Ranges {
	from, _ := slices.BinarySearchFunc(rs, first, func(r Range, seq uint64) int {
		if r.Last+1 < seq {
			return -1
		}
		return 1
	})
	to := from
	for to < len(rs) && rs[to].First <= last+1 {
		first, last = min(first, rs[to].First), max(last, rs[to].Last)
		to++
	}
	return slices.Replace(rs, from, to, Range{first, last})
}

// Remove returns the set without seq, which may split a range.
func (rs Ranges) Remove(seq uint64) Ranges {
	i, found := rs.find(seq)
	if !found {
		return rs
	}
	r := rs[i]
	var parts []Range
	if r.First < seq {
		parts = append(parts, Range{r.First, seq - 1})
	}
	if seq < r.Last {
		parts = append(parts, Range{seq + 1, r.Last})
	}
	return slices.Replace(rs, i, i+1, parts...)
}

// Contains says whether seq is in the set.
func (rs Ranges) Contains(seq uint64) bool {
	_, found := rs.find(seq)
	return found
}

func (rs Ranges) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(rs, seq, func(r Range, seq uint64) int {
		switch {
		case r.Last < seq:
			return -1
		case r.First > seq:
			return 1
		}
		return 0
	})
}

// Below returns a copy of the part of the set that is below seq.
func (rs Ranges) Below(seq uint64) Ranges {
	var out Ranges
	for _, r := range rs {
		if r.First >= seq {
			break
		}
		out = append(out, Range{r.First, min(r.Last, seq-1)})
	}
	return out
}

// From returns a copy of the part of the set that is at or above seq.
func (rs Ranges) From(seq uint64) Ranges {
	var out Ranges
	for _, r := range rs {
		if r.Last >= seq {
			out = append(out, Range{max(r.First, seq), r.Last})
		}
	}
	return out
}

// Len is the number of seqs in the set.
func (rs Ranges) Len() uint64 {
	n := uint64(0)
	for _, r := range rs {
		n += r.Last - r.First + 1
	}
	return n
}

// Clone returns a copy that shares nothing.
func (rs Ranges) Clone() Ranges { return slices.Clone(rs) }

// Join returns the set in at most limit ranges (at least 1): the ranges with
// the least between them are made one, the seqs between included.
func (rs Ranges) Join(limit int) Ranges {
	for len(rs) > max(limit, 1) {
		at := 0
		for i := range len(rs) - 1 {
			if rs[i+1].First-rs[i].Last < rs[at+1].First-rs[at].Last {
				at = i
			}
		}
		rs[at].Last = rs[at+1].Last
		rs = slices.Delete(rs, at+1, at+2)
	}
	return rs
}

// String writes the set as Forebay-Gaps and Forebay-Fill have it.
func (rs Ranges) String() string {
	var b []byte
	for i, r := range rs {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, r.First, 10)
		if r.First < r.Last {
			b = append(b, '-')
			b = strconv.AppendUint(b, r.Last, 10)
		}
	}
	return string(b)
}

// ParseRanges reads what String wrote; "" is the empty set.
func ParseRanges(s string) (Ranges, error) {
	if s == "" {
		return nil, nil
	}
	if n := strings.Count(s, ",") + 1; n > MaxSeqs {
		return nil, fmt.Errorf("%d ranges, more than %d", n, MaxSeqs)
	}
	var rs Ranges
	before := uint64(0)
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		lo, err := strconv.ParseUint(first, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("range %q: %w", part, err)
		}
		hi, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("range %q: %w", part, err)
		}
		if lo == 0 || lo > hi || lo <= before || hi == ^uint64(0) {
			return nil, fmt.Errorf("range %q does not ascend", part)
		}
		rs = rs.Add(lo, hi)
		before = hi
	}
	return rs, nil
}
