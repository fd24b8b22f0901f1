package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"forebay/shipper"
	"forebay/shipper/session/header"
	"forebay/wal"
)

// Bounds of one question of an audit.
const (
	questionSessions = 1000
	questionEvents   = 100_000
)

// Prover asks a Session Manager how far sessions came. It is a shipper.Prover.
type Prover struct{ marks *Marks }

// NewProver checks the options; nothing is asked before Reach.
func NewProver(o Options) (*Prover, error) {
	m, err := NewMarks(o)
	if err != nil {
		return nil, err
	}
	return &Prover{m}, nil
}

// Close gives up idle connections.
func (p *Prover) Close() { p.marks.Close() }

// Reach finds out whether the Session Manager answers questions for marks, by
// one for a session that there is not.
func (p *Prover) Reach(ctx context.Context) (time.Time, error) {
	_, err := p.marks.Of(ctx, "forebay", "audit")
	if errors.Is(err, ErrMarksNotOffered) {
		err = fmt.Errorf("%w: %w", shipper.ErrCannotProve, err)
	}
	return time.Time{}, err
}

// Begin implements shipper.Prover.
func (p *Prover) Begin() shipper.Question {
	return &question{marks: p.marks, sessions: map[laneKey]header.Ranges{}}
}

// question is for the events of some sessions of one log.
type question struct {
	marks    *Marks
	logID    wal.ID
	events   int
	order    []laneKey
	sessions map[laneKey]header.Ranges // the seqs of each
}

// Take implements shipper.Question.
func (q *question) Take(e shipper.Event) bool {
	of := laneKey{e.Project, e.Session}
	_, known := q.sessions[of]
	switch {
	case q.events == 0:
		q.logID = e.LogID
	case e.LogID != q.logID, q.events >= questionEvents, !known && len(q.order) >= questionSessions:
		return false
	}
	if !known {
		of = laneKey{strings.Clone(of.project), strings.Clone(of.session)} // a key must not hold its whole block in memory
		q.order = append(q.order, of)
	}
	q.events++
	q.sessions[of] = q.sessions[of].Add(e.Seq, e.Seq)
	return true
}

// Ask implements shipper.Question, with one request for each session. What the
// Session Manager says is taken up to its mark is there, save the gaps that it
// was told of: the cursor does not count those as delivered.
func (q *question) Ask(ctx context.Context) (f shipper.Findings, err error) {
	var missing header.Ranges
	for _, of := range q.order {
		marks, err := q.marks.Of(ctx, of.project, of.session)
		if err != nil {
			return f, err
		}
		var m ReceiverMark
		for _, mark := range marks {
			if mark.LogID == q.logID.String() {
				m = mark
			}
		}
		seqs := q.sessions[of]
		lacks := m.lacks(seqs)
		if len(lacks) == 0 {
			continue
		}
		for _, r := range lacks {
			missing = missing.Add(r.First, r.Last)
		}
		f.Behind = append(f.Behind, shipper.Behind{
			Project: of.project, Session: of.session, Want: seqs[len(seqs)-1].Last, Have: m.Seq, Missing: lacks.Len(),
		})
	}
	for _, r := range missing {
		f.Missing = append(f.Missing, shipper.Range(r))
	}
	return f, nil
}

// lacks is what of a session's seqs is above the mark or in an open gap.
func (m ReceiverMark) lacks(seqs header.Ranges) header.Ranges {
	lacks := seqs.From(m.Seq + 1)
	for _, gap := range m.Gaps {
		for _, r := range seqs {
			if first, last := max(r.First, gap.First), min(r.Last, gap.Last, m.Seq); first <= last {
				lacks = lacks.Add(first, last)
			}
		}
	}
	return lacks
}
