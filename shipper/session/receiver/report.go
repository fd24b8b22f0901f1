package receiver

import (
	"errors"
	"fmt"
)

// maxViolations bounds how many violations are described; all are counted.
const maxViolations = 20

// Report is what a receiver has seen since it started, or since its state
// file began.
type Report struct {
	Sessions  int    `json:"sessions"`  // (log, project, session) ever seen
	Requests  uint64 `json:"requests"`  // that were applied
	Events    uint64 `json:"events"`    // that took effect
	Replayed  uint64 `json:"replayed"`  // of these, marked as delivered before a rewind
	Filled    uint64 `json:"filled"`    // of these, that filled a gap
	Repeats   uint64 `json:"repeats"`   // events dropped since they had been taken
	Gaps      uint64 `json:"gaps"`      // seqs announced as gaps
	Stale     uint64 `json:"stale"`     // requests refused for an epoch that is over
	Malformed uint64 `json:"malformed"` // requests that break the contract
	Late      uint64 `json:"late"`      // events after their turn: violations of order

	Violations []string `json:"violations,omitempty"` // the first of them, in words
}

// InOrder says whether every session's events came in order, and no request
// broke the contract.
func (r Report) InOrder() bool { return r.Late == 0 && r.Malformed == 0 }

// count adds one request.
func (r *Report) count(d, effect Delivery, err error) {
	var stale *StaleEpochError
	switch {
	case errors.As(err, &stale):
		r.Stale++
		return
	case errors.Is(err, errMalformed):
		r.Malformed++
		r.describe("session %q of project %q: %v", d.Session, d.Project, err)
		return
	case err != nil:
		return
	}
	taken := uint64(len(effect.Seqs))
	r.Requests++
	r.Events += taken
	r.Repeats += uint64(len(d.Seqs)) - taken
	r.Gaps += effect.Gaps.Len()
	if d.Replay {
		r.Replayed += taken
	}
	if len(d.Fill) > 0 {
		r.Filled += taken
	}
}

func (r *Report) late(d Delivery, seq uint64) {
	r.Late++
	r.describe("session %q of project %q: event %d came after its turn", d.Session, d.Project, seq)
}

func (r *Report) describe(format string, args ...any) {
	if len(r.Violations) < maxViolations {
		r.Violations = append(r.Violations, fmt.Sprintf(format, args...))
	}
}

// seenSeqs remembers which seqs have come, a bit for each, so that an event
// after its turn can be told from a repeat. Marks alone cannot.
type seenSeqs struct {
	pages map[seenPage]*[pageSeqs / 64]uint64
	order []seenPage // oldest first, to be dropped past maxPages
}

type seenPage struct {
	logID string
	page  uint64
}

// Pages of 8 KiB; 32 MiB of them span 268 million seqs.
const (
	pageSeqs = 1 << 16
	maxPages = 4096
)

func newSeenSeqs() seenSeqs {
	return seenSeqs{pages: map[seenPage]*[pageSeqs / 64]uint64{}}
}

func (s *seenSeqs) add(logID string, seqs []uint64) {
	for _, seq := range seqs {
		at := seenPage{logID, seq / pageSeqs}
		page := s.pages[at]
		if page == nil {
			page = new([pageSeqs / 64]uint64)
			s.pages[at] = page
			if s.order = append(s.order, at); len(s.order) > maxPages {
				delete(s.pages, s.order[0])
				s.order = s.order[1:]
			}
		}
		page[seq%pageSeqs/64] |= 1 << (seq % 64)
	}
}

// missing says that seq has not come. What has been dropped is not missing.
func (s *seenSeqs) missing(logID string, seq uint64) bool {
	page := s.pages[seenPage{logID, seq / pageSeqs}]
	return page != nil && page[seq%pageSeqs/64]&(1<<(seq%64)) == 0
}
