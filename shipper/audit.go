package shipper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"forebay/wal"
)

// Prover compares what a cursor counts as delivered with what its destination
// has. It is for one goroutine, and has no part in delivering.
type Prover interface {
	// Reach connects. It returns the time before which the destination may have
	// forgotten what it got, by a rule of its own; the zero time if it forgets
	// nothing. An error that wraps ErrCannotProve says that the destination
	// does not answer such questions, a *PauseError that only an operator can
	// help; any other may pass by itself.
	Reach(ctx context.Context) (since time.Time, err error)
	// Begin returns a question without an event.
	Begin() Question
}

// A Prover that keeps less of an event than all of it says so, in Notes: a line
// each, as of the last Reach.
type noted interface{ Notes() []string }

// notes are those of the target, as far as it has any.
func (d AuditTarget) notes() []string {
	if n, ok := d.Prover.(noted); ok {
		return n.Notes()
	}
	return nil
}

// Question asks a destination once which of some events it has.
type Question interface {
	// Take adds an event that should be there; they come ascending by seq. It
	// is false if the event is for another question; the first never is.
	Take(e Event) bool
	// Ask returns the destination's answer.
	Ask(ctx context.Context) (Findings, error)
}

// ErrCannotProve is wrapped by a Prover whose destination offers no way to see
// what it has.
var ErrCannotProve = errors.New("the destination does not tell what it has")

// Findings is what is not as it should be.
type Findings struct {
	Missing []Range  // not there
	Doubles []Range  // there more than once
	Lasting []Range  // of Doubles, those that the destination will not merge by itself
	Behind  []Behind // the sessions of Missing, where the destination is asked by session
}

// Behind is a session of which a destination lacks events.
type Behind struct {
	Project string `json:"project"`
	Session string `json:"session"`
	Want    uint64 `json:"want_seq"` // its last event that should be there
	Have    uint64 `json:"have_seq"` // how far the destination has it; 0: it does not know the session
	Missing uint64 `json:"missing"`  // its events that are not there
}

// AuditTarget is what an audit asks, and what it heals with.
type AuditTarget struct {
	Prover Prover
	Healer Sink   // a sink of its own, that no cursor uses; nil: an audit cannot heal it
	Flush  Flush  // of what the healer gets; Age does not matter
	Once   bool   // it may forget what was proven: the watch does not look at it again
	Close  func() // nil: there is nothing to close
}

func (d AuditTarget) close() {
	if d.Close != nil {
		d.Close()
	}
}

// Excepted counts events that a cursor does not count as shipped, each once
// and as its Account does.
type Excepted struct {
	Dead      uint64 `json:"dead,omitempty"`
	Discarded uint64 `json:"discarded,omitempty"`
	Skipped   uint64 `json:"skipped,omitempty"`
	Lost      uint64 `json:"lost,omitempty"` // damaged in the log, before it was delivered or after
	Expired   uint64 `json:"expired,omitempty"`
}

func (e *Excepted) add(o Excepted) {
	e.Dead += o.Dead
	e.Discarded += o.Discarded
	e.Skipped += o.Skipped
	e.Lost += o.Lost
	e.Expired += o.Expired
}

// exceptions are the seqs of a stretch that are not counted as shipped, and
// how many there are of each kind.
type exceptions struct {
	seqs   []Range
	counts Excepted
}

// exceptions are those of first..last at this moment.
func (c *Cursor) exceptions(first, last uint64) (x exceptions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range []struct {
		ranges []Range
		into   *uint64
	}{
		{c.account.dead.ranges(first, last), &x.counts.Dead}, {c.account.thrown.ranges(first, last), &x.counts.Discarded},
		{c.pos.Skipped, &x.counts.Skipped}, {c.pos.Lost, &x.counts.Lost}, {c.pos.Expired, &x.counts.Expired},
	} {
		news := without(clip(kind.ranges, first, last), x.seqs)
		*kind.into = total(news)
		x.seqs = union(x.seqs, news)
	}
	return x
}

// ranges are the seqs of first..last.
func (s seqSet) ranges(first, last uint64) []Range {
	var out []Range
	for _, seq := range s.within(first, last) {
		if n := len(out); n > 0 && out[n-1].Last+1 == seq {
			out[n-1].Last = seq
		} else {
			out = append(out, Range{seq, seq})
		}
	}
	return out
}

// stretch is a piece of the log that was compared by one question.
type stretch struct {
	Findings
	next     uint64 // first seq after it
	compared uint64 // events asked for
	tooOld   uint64 // events that the destination may have forgotten
	notKept  uint64 // seqs that the log no longer has
	excepted Excepted
}

// compare asks the destination for events that should be there: for as many of
// the ranges as one question takes. What it counts of others is right only
// if there is but one range.
func (d AuditTarget) compare(ctx context.Context, c *Cursor, since time.Time, wanted ...Range) (s stretch, err error) {
	from, last := wanted[0].First, wanted[len(wanted)-1].Last
	known, question := c.exceptions(from, last), d.Prover.Begin()
	events := newPick(c.log, wanted)
	defer func() { err = errors.Join(err, events.close()) }()
	s.next = last + 1
	seen := from - 1
	for {
		e, more, err := events.next(ctx)
		if err != nil {
			return s, fmt.Errorf("read the log: %w", err)
		}
		if !more {
			break
		}
		expected := !inRanges(known.seqs, e.Seq)
		// What the node itself has stamped too early is not too old.
		old := expected && e.ReceivedAt.Before(since) && e.Adjusted.Before(since)
		if expected && !old && !question.Take(e) {
			s.next = e.Seq
			break
		}
		seen = e.Seq
		if old {
			s.tooOld++
		} else if expected {
			s.compared++
		}
	}
	s.leaveOut(c.exceptions(from, s.next-1), events.lost(), from, seen)
	if s.compared == 0 {
		return s, nil
	}
	if s.Findings, err = question.Ask(ctx); err != nil {
		return s, err
	}
	// What was set aside while the question was under way is not missed.
	s.Missing = without(s.Missing, c.exceptions(from, s.next-1).seqs)
	return s, nil
}

// leaveOut counts what was not asked for: the exceptions, and the seqs beside
// them that the log does not hold. Seen is the last event that it does hold.
func (s *stretch) leaveOut(x exceptions, gaps []wal.Gap, from, seen uint64) {
	s.excepted = x.counts
	if n := len(gaps); n > 0 {
		seen = max(seen, gaps[n-1].Last)
	}
	if seen+1 < s.next { // the log ends before its last seq
		gaps = append(slices.Clone(gaps), wal.Gap{First: seen + 1, Last: s.next - 1, Reason: wal.ReasonFloor})
	}
	for _, g := range gaps {
		for _, r := range without(clip([]Range{{g.First, g.Last}}, from, s.next-1), x.seqs) {
			if g.Reason == wal.ReasonRetention {
				s.notKept += r.Len()
			} else {
				s.excepted.Lost += r.Len()
			}
		}
	}
}
