package receiver

import (
	"errors"
	"fmt"

	"forebay/shipper/session/header"
)

// Mark is all that a receiver has to remember of one session of one log to
// take each event exactly once. It has to be kept as durably as the events,
// and changed in the same transaction.
type Mark struct {
	Epoch uint64        `json:"epoch"`          // highest seen
	Seq   uint64        `json:"seq"`            // everything up to here is decided: taken, or announced as a gap
	Gaps  header.Ranges `json:"gaps,omitempty"` // announced, and not filled since
}

// maxGaps bounds the ranges remembered of one session; the nearest are
// joined past it.
const maxGaps = 1000

// errMalformed is a request that breaks the contract in a way that only the
// mark shows.
var errMalformed = errors.New("request breaks the contract")

// StaleEpochError refuses a request whose sender has been overtaken by a
// rewind, or has lost its memory of one.
type StaleEpochError struct {
	Epoch, Highest uint64
}

func (e *StaleEpochError) Error() string {
	return fmt.Sprintf("epoch %d is over: epoch %d has been seen", e.Epoch, e.Highest)
}

// Apply decides what of a request takes effect. It returns the mark to keep
// and the part of the request that is new; m and d stay as they are.
func (m Mark) Apply(d Delivery) (Mark, Delivery, error) {
	effect := d
	effect.Seqs, effect.Events, effect.Gaps, effect.Fill = nil, nil, nil, nil
	m.Gaps = m.Gaps.Clone()
	fill := len(d.Fill) > 0
	if !fill {
		if d.Epoch < m.Epoch {
			return m, effect, &StaleEpochError{Epoch: d.Epoch, Highest: m.Epoch}
		}
		if len(d.Gaps) > 0 && d.Gaps[len(d.Gaps)-1].Last >= d.Seqs[0] {
			return m, effect, fmt.Errorf("%w: gap %d is not before event %d", errMalformed, d.Gaps[len(d.Gaps)-1].Last, d.Seqs[0])
		}
		if d.Epoch > m.Epoch {
			m = m.reset(d)
		}
	}
	if d.Epoch >= m.Epoch {
		effect.Gaps = d.Gaps.From(m.Seq + 1)
	}
	for _, g := range effect.Gaps {
		m.Gaps = m.Gaps.Add(g.First, g.Last)
		m.Seq = g.Last
	}
	for i, seq := range d.Seqs {
		switch {
		case fill && m.Gaps.Contains(seq):
			m.Gaps = m.Gaps.Remove(seq)
		case fill && seq > m.Seq: // of a session that is new here: there is no order to keep
		case !fill && seq > m.Seq:
			m.Seq = seq
			m.Gaps = m.Gaps.Remove(seq) // of an epoch before
		default:
			continue // a repeat
		}
		effect.Seqs = append(effect.Seqs, seq)
		effect.Events = append(effect.Events, d.Events[i])
		if fill {
			effect.Fill = effect.Fill.Add(seq, seq)
		}
	}
	m.Gaps = m.Gaps.Join(maxGaps)
	return m, effect, nil
}

// reset starts a new epoch: what the request names first, and all after it,
// comes anew. Gaps stay open until their events come: the epoch may end
// before it has come that far.
func (m Mark) reset(d Delivery) Mark {
	first := d.Seqs[0]
	if len(d.Gaps) > 0 {
		first = d.Gaps[0].First
	}
	return Mark{Epoch: d.Epoch, Seq: first - 1, Gaps: m.Gaps}
}
