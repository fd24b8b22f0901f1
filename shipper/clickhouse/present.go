package clickhouse

import (
	"context"
	"errors"
	"math"
	"strings"

	"forebay/shipper"
)

// slack widens the bounds in time of a read, in seconds. They only let the
// server skip parts. They must be wide: with exact bounds ClickHouse 26.7
// compares DateTime64 by whole seconds when it prunes, and loses rows of the
// last second.
const slack = 2

// span is a stretch of one log to be read from the table.
type span struct {
	logID       string
	seqs        []shipper.Range // ascending, at least one
	from, until int64           // received in between, milliseconds
}

// span is what the block's rows lie in.
func (b *block) span() span {
	all := shipper.Range{First: b.seqs[0], Last: b.seqs[len(b.seqs)-1]}
	s := span{logID: b.logID, seqs: []shipper.Range{all}, from: b.received[0], until: b.received[0]}
	for _, ms := range b.received {
		s.from, s.until = min(s.from, ms), max(s.until, ms)
	}
	return s
}

// where selects the rows of the span.
func (s span) where() string {
	var seqs []string
	for _, r := range s.seqs {
		seqs = append(seqs, "seq >= "+number(r.First)+" AND seq <= "+number(r.Last))
	}
	return " WHERE log_id = " + quoteText(s.logID) +
		" AND (" + strings.Join(seqs, " OR ") + ")" +
		" AND received_at >= toDateTime(" + second(s.from, -slack) + ")" + s.latest()
}

// latest bounds the span where toDateTime can.
func (s span) latest() string {
	if floorSeconds(s.until)+slack > math.MaxUint32 {
		return ""
	}
	return " AND received_at <= toDateTime(" + second(s.until, slack) + ")"
}

// second is the second of a time, moved, within what DateTime holds.
func second(ms, moved int64) string {
	return number(uint64(min(max(floorSeconds(ms)+moved, 0), math.MaxUint32)))
}

// presence is what the table has of a span.
type presence struct {
	seqs    map[uint64]bool // each once
	doubles []uint64        // of them, those that are there more than once, ascending
}

// present reads which seqs of a span are in the table, as it stands or with
// "FINAL" as it will be once all is merged. It waits for nothing: see idle.
// Reconciliation and audits both rest on it.
func (c *server) present(ctx context.Context, s span, final string) (presence, error) {
	query := "SELECT count(), groupArray(seq), arraySort(groupArrayIf(seq, n > 1)) FROM" +
		" (SELECT toUInt64(assumeNotNull(seq)) AS seq, count() AS n FROM " + c.table.name + " " + final + s.where() + " GROUP BY seq)"
	var p presence
	var count uint64
	var seqs []uint64
	if err := c.queryRow(ctx, query, &count, &seqs, &p.doubles); err != nil {
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
