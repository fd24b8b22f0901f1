package clickhouse

import (
	"context"
	"errors"
)

// slack widens the bounds in time of a read, in seconds. They only spare the
// server other parts, and an exact one does too much: compared with a
// DateTime, ClickHouse 26.7 prunes parts of DateTime64 by whole seconds, and
// loses rows of the last one.
const slack = 2

// span is a stretch of one log to be read from the table.
type span struct {
	logID       string
	first, last uint64
	from, until int64 // received in between, milliseconds
}

// span is what the block's rows lie in.
func (b *block) span() span {
	s := span{logID: b.logID, first: b.seqs[0], last: b.seqs[len(b.seqs)-1], from: b.received[0], until: b.received[0]}
	for _, ms := range b.received {
		s.from, s.until = min(s.from, ms), max(s.until, ms)
	}
	return s
}

// where selects the rows of the span.
func (s span) where() string {
	return " WHERE log_id = " + quoteText(s.logID) +
		" AND seq >= " + number(s.first) + " AND seq <= " + number(s.last) +
		" AND received_at >= toDateTime(" + number(uint64(floorSeconds(s.from)-slack)) + ")" +
		" AND received_at <= toDateTime(" + number(uint64(floorSeconds(s.until)+slack)) + ")"
}

// presence is what the table has of a span.
type presence struct {
	rows uint64          // repeats counted
	seqs map[uint64]bool // each once
}

// present reads which seqs of a span are in the table. It waits for nothing:
// see running. Reconciliation and audits both rest on it.
func (c *server) present(ctx context.Context, s span) (presence, error) {
	query := "SELECT count(), toUInt64(uniqExact(seq)), groupUniqArray(toUInt64(assumeNotNull(seq))) FROM " + c.table.name + s.where()
	var p presence
	var count uint64
	var seqs []uint64
	if err := c.queryRow(ctx, query, &p.rows, &count, &seqs); err != nil {
		return presence{}, err
	}
	p.seqs = make(map[uint64]bool, len(seqs))
	for _, seq := range seqs {
		p.seqs[seq] = true
	}
	if uint64(len(p.seqs)) != count {
		return presence{}, errors.New(c.addr + ": read: the answer is not whole")
	}
	return p, nil
}
