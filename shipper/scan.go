package shipper

import (
	"context"
	"errors"
	"io"

	"forebay/wal"
	"forebay/wal/record"
)

// Scan walks events of the log in order, for operators and audits; it needs
// no cursor and moves none.
type Scan struct {
	reader *wal.Reader
	at     uint64
	last   uint64
	queue  []Event
	lost   []wal.Gap
	batch  record.Batch // memory to decode into
}

// NewScan walks from seq first (or the oldest kept) to last.
func NewScan(log Log, first, last uint64) *Scan {
	return &Scan{reader: log.NewReader(first), at: first, last: min(last, log.DurableSeq())}
}

// Next is the following event; false at the end.
func (s *Scan) Next(ctx context.Context) (Event, bool, error) {
	for len(s.queue) == 0 {
		if err := ctx.Err(); err != nil {
			return Event{}, false, err
		}
		if s.at > s.last {
			return Event{}, false, nil
		}
		block, err := s.reader.Next(onlyReady())
		if errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
			return Event{}, false, nil // what is left up to last is a gap
		}
		if err != nil {
			return Event{}, false, err
		}
		if s.queue, s.lost, err = unpack(block, &s.batch, s.at, s.queue, s.lost); err != nil {
			return Event{}, false, err
		}
		s.at = block.FirstSeq + uint64(block.Events)
	}
	e := s.queue[0]
	if e.Seq > s.last {
		return Event{}, false, nil
	}
	s.queue = s.queue[1:]
	return e, true, nil
}

// Lost are the seqs that the walk so far could not read.
func (s *Scan) Lost() []wal.Gap { return s.lost }

// Close ends the walk.
func (s *Scan) Close() error { return s.reader.Close() }

// leap is how many seqs between two wanted ones are not worth being read.
const leap = 20_000

// pick walks the events of some ranges only, and leaps over long stretches
// between them.
type pick struct {
	log    Log
	wanted []Range // not passed
	scan   *Scan
	at     uint64 // the scan's next seq
}

func newPick(log Log, wanted []Range) *pick { return &pick{log: log, wanted: wanted} }

// next is the following event; false at the end.
func (p *pick) next(ctx context.Context) (Event, bool, error) {
	for len(p.wanted) > 0 {
		if first := p.wanted[0].First; p.scan == nil || first > p.at+leap {
			if err := p.close(); err != nil {
				return Event{}, false, err
			}
			p.scan, p.at = NewScan(p.log, first, p.wanted[len(p.wanted)-1].Last), first
		}
		e, more, err := p.scan.Next(ctx)
		if err != nil || !more {
			return Event{}, false, err
		}
		p.at = e.Seq + 1
		for len(p.wanted) > 0 && p.wanted[0].Last < e.Seq {
			p.wanted = p.wanted[1:]
		}
		if len(p.wanted) > 0 && p.wanted[0].First <= e.Seq {
			return e, true, nil
		}
	}
	return Event{}, false, nil
}

// lost are the seqs that the walk since the last leap could not read.
func (p *pick) lost() []wal.Gap {
	if p.scan == nil {
		return nil
	}
	return p.scan.Lost()
}

func (p *pick) close() error {
	if p.scan == nil {
		return nil
	}
	return p.scan.Close()
}

// onlyReady is a context that has ended: a reader given it returns the blocks
// that are there, and does not wait for more.
func onlyReady() context.Context {
	ctx, end := context.WithCancel(context.Background())
	end()
	return ctx
}
