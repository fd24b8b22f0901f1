package shipper

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// positionVersion is the version of the JSON that a cursor is saved as. A
// newer one is refused: guessing at it could lose events.
const positionVersion = 1

// maxRanges bounds how many separate lost, expired and skipped ranges a
// cursor names; past it the nearest neighbours are joined into one.
const maxRanges = 1000

// Range is a closed stretch of seqs.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Len is the number of seqs in the range.
func (r Range) Len() uint64 { return r.Last - r.First + 1 }

// Pause is why a cursor stands still.
type Pause struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until someone resumes it
}

// position is what a cursor saves. Everything below Next is accounted for.
type position struct {
	Version int      `json:"version"`
	Next    uint64   `json:"next"`
	Epoch   uint64   `json:"epoch"`
	Replay  uint64   `json:"replay,omitempty"` // seqs up to here were delivered before a rewind
	Pause   *Pause   `json:"pause,omitempty"`
	Undo    *rewound `json:"undo,omitempty"`
	Lost    []Range  `json:"lost,omitempty"`    // damaged in the log, never deliverable
	Expired []Range  `json:"expired,omitempty"` // gone by retention before this cursor came
	Skipped []Range  `json:"skipped,omitempty"` // passed over by an operator

	Discarded     uint64  `json:"discarded,omitempty"`      // dead letters that operators removed
	DiscardedSeqs []Range `json:"discarded_seqs,omitempty"` // of these, the seqs, unless a rewind brings them again
}

// rewound is where a cursor stood before its last rewind or skip.
type rewound struct {
	Next          uint64    `json:"next"`
	To            uint64    `json:"to"` // where it went
	Replay        uint64    `json:"replay,omitempty"`
	Skipped       []Range   `json:"skipped,omitempty"`
	DiscardedSeqs []Range   `json:"discarded_seqs,omitempty"`
	Skip          bool      `json:"skip,omitempty"` // it was a skip
	At            time.Time `json:"at"`
}

// cameTo tells whether the last move brought it to seq to, and it has not gone
// on since: the same move again is then already done.
func (p *position) cameTo(to uint64) bool {
	return p.Next == to && p.Undo != nil && p.Undo.To == to
}

// undo takes back u, the last move. What has been delivered since stays counted
// as delivered: it was skipped no longer, and it is a repeat if it comes again.
func (p *position) undo(u *rewound) {
	at := p.Next
	p.Undo, p.Replay = nil, u.Replay
	if u.Skip {
		if at > u.To {
			p.Replay = max(p.Replay, at-1)
		}
		p.Next, p.Skipped = u.Next, u.Skipped
	} else {
		p.Next = max(u.Next, at)
		p.Skipped = addFrom(p.Skipped, u.Skipped, at)
		p.DiscardedSeqs = addFrom(p.DiscardedSeqs, u.DiscardedSeqs, at)
	}
	if p.Replay < p.Next {
		p.Replay = 0
	}
}

func cursorKey(name string) string { return "cursor/" + name }

func (p position) write(name string) (Write, error) {
	p.Version = positionVersion
	v, err := json.Marshal(p)
	if err != nil {
		return Write{}, fmt.Errorf("encode cursor %s: %w", name, err)
	}
	return Write{Key: cursorKey(name), Value: v}, nil
}

func decodePosition(name string, data []byte) (position, error) {
	var p position
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("cursor %s: its saved position cannot be read (restore the state folder or remove it to start at the oldest event): %w", name, err)
	}
	if p.Version != positionVersion {
		return p, fmt.Errorf("cursor %s: saved by another version (%d, this program knows %d): run the newer forebay", name, p.Version, positionVersion)
	}
	return p, nil
}

// addRange puts r into the sorted, disjoint ranges and joins what touches.
func addRange(ranges []Range, r Range) []Range {
	out := make([]Range, 0, len(ranges)+1)
	for _, have := range ranges {
		if have.Last+1 < r.First || r.Last+1 < have.First {
			out = append(out, have)
			continue
		}
		r = Range{min(r.First, have.First), max(r.Last, have.Last)}
	}
	out = append(out, r)
	slices.SortFunc(out, func(a, b Range) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	if len(out) > maxRanges {
		out = joinNearest(out)
	}
	return out
}

// cutFrom is what of the ranges lies below seq.
func cutFrom(ranges []Range, seq uint64) []Range {
	var out []Range
	for _, r := range ranges {
		if r.First < seq {
			out = append(out, Range{r.First, min(r.Last, seq-1)})
		}
	}
	return out
}

// addFrom puts what of more lies at or above seq into the ranges.
func addFrom(ranges, more []Range, seq uint64) []Range {
	for _, r := range more {
		if r.Last >= seq {
			ranges = addRange(ranges, Range{max(r.First, seq), r.Last})
		}
	}
	return ranges
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

// countWithin is how many seqs of the ranges lie in first..last.
func countWithin(ranges []Range, first, last uint64) uint64 {
	n := uint64(0)
	for _, r := range ranges {
		if lo, hi := max(r.First, first), min(r.Last, last); lo <= hi {
			n += hi - lo + 1
		}
	}
	return n
}
