package clickhouse

import (
	"context"
	"errors"
	"math"
	"slices"
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

// span is what the rows of the block lie in, of which there is one at least.
func (b *block) span(rows []int) span {
	first, last := rows[0], rows[len(rows)-1]
	all := shipper.Range{First: b.seqs[first], Last: b.seqs[last]}
	s := span{logID: b.logID, seqs: []shipper.Range{all}, from: b.received[first], until: b.received[first]}
	for _, ms := range b.received[first : last+1] {
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
	counts  map[uint64]uint64 // how often each seq is there, 1 at least
	doubles []uint64          // those that are there more than once, ascending
}

// present reads which seqs of a span are in the table, as it stands or with
// "FINAL" as it will be once all is merged. It waits for nothing: see idle.
// Reconciliation and audits both rest on it.
func (c *server) present(ctx context.Context, s span, final string) (presence, error) {
	query := "SELECT count(), groupArray(seq), groupArray(n) FROM" +
		" (SELECT toUInt64(assumeNotNull(seq)) AS seq, toUInt64(count()) AS n FROM " + c.table.name + " " + final + s.where() + " GROUP BY seq)"
	var p presence
	var count uint64
	var seqs, times []uint64
	if err := c.queryRow(ctx, query, &count, &seqs, &times); err != nil {
		return presence{}, err
	}
	if uint64(len(seqs)) != count || len(times) != len(seqs) {
		return presence{}, errors.New(c.addr + ": read: the answer is not whole")
	}
	p.counts = make(map[uint64]uint64, len(seqs))
	for i, seq := range seqs {
		p.counts[seq] = times[i]
		if times[i] > 1 {
			p.doubles = append(p.doubles, seq)
		}
	}
	if uint64(len(p.counts)) != count {
		return presence{}, errors.New(c.addr + ": read: the answer is not whole")
	}
	slices.Sort(p.doubles)
	return p, nil
}
