package clickhouse

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"forebay/shipper"
)

// The times that DateTime64 holds, by the server's version: from 22.8 on, from
// 21.4 on, and before. The driver counts in nanoseconds of 64 bits whatever the
// precision, so nothing later than its latest can be sent.
var (
	wideTimes    = times{at("1900-01-01T00:00:00Z"), math.MaxInt64 / int64(time.Millisecond)}
	mediumTimes  = times{at("1925-01-01T00:00:00Z"), math.MaxInt64 / int64(time.Millisecond)}
	narrowTimes  = times{0, at("2105-12-31T23:59:59Z") + 999}
	secondsTimes = times{0, math.MaxUint32*1000 + 999} // of DateTime
)

// times is a span of time in Unix milliseconds, both ends included.
type times struct{ from, until int64 }

func (s times) holds(ms int64) bool { return ms >= s.from && ms <= s.until }

func at(text string) int64 {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t.UnixMilli()
}

// holds is the span of an instant column of a type.
func (v release) holds(columnType string) times {
	switch {
	case isDateTime(unwrap(columnType)):
		return secondsTimes
	case v.before(21, 4):
		return narrowTimes
	case v.before(22, 8):
		return mediumTimes
	}
	return wideTimes
}

// release is a server's version, as far as anything hangs on it.
type release struct{ year, number int }

// parseRelease reads a version such as 26.7.3.1; one that it cannot read is
// the zero release, which is before every other.
func parseRelease(version string) release {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	year, err := strconv.Atoi(first)
	number, err2 := strconv.Atoi(second)
	if err != nil || err2 != nil {
		return release{}
	}
	return release{year, number}
}

func (v release) before(year, number int) bool {
	return v.year < year || v.year == year && v.number < number
}

// unfit says why a column of the type cannot hold the row's value, or "".
func (b *block) unfit(c column, columnType string, v release, row int) string {
	switch c.kind {
	case instant:
		values := b.timestamps
		if c.name == "received_at" {
			values = b.received
		}
		if span := v.holds(columnType); !span.holds(values[row]) {
			return fmt.Sprintf("column %s is %s, which holds times from %s to %s: the event's is not among them", c.name, columnType,
				time.UnixMilli(span.from).UTC().Format(time.RFC3339), time.UnixMilli(span.until).UTC().Format(time.RFC3339))
		}
	case ordinal:
		if unwrap(columnType) == "Int64" && b.seqs[row] > math.MaxInt64 {
			return fmt.Sprintf("column %s is %s, which cannot hold the event's", c.name, columnType)
		}
	}
	return ""
}

// fitting buries those of the rows that the server's table cannot hold, and
// returns the others. What is buried stays so when the plan is tried again.
func (d *delivery) fitting(ctx context.Context, srv *server, plan shipper.Plan, b *block, rows []int) ([]int, error) {
	bad := srv.unfit(b, rows)
	if bad == nil {
		return rows, nil
	}
	var fit []int
	at := 0
	for _, row := range rows {
		if at < len(bad) && bad[at].row == row {
			at++
			continue
		}
		fit = append(fit, row)
	}
	return fit, d.bury(ctx, plan, b, bad)
}

// unfit lists those of the rows that the table cannot hold.
func (c *server) unfit(b *block, rows []int) (bad []refusal) {
	stamps, receipts := c.span("timestamp"), c.span("received_at")
	seqs := uint64(math.MaxUint64)
	if f, has := c.table.columns["seq"]; has && unwrap(f.kind) == "Int64" {
		seqs = math.MaxInt64
	}
	for _, row := range rows {
		if stamps.holds(b.timestamps[row]) && receipts.holds(b.received[row]) && b.seqs[row] <= seqs {
			continue
		}
		for _, col := range fields {
			if f, has := c.table.columns[col.name]; has {
				if why := b.unfit(col, f.kind, c.release, row); why != "" {
					bad = append(bad, refusal{row, why})
					break
				}
			}
		}
	}
	return bad
}

// span is what an instant column of the table holds; all times if there is none.
func (c *server) span(name string) times {
	if f, has := c.table.columns[name]; has {
		return c.release.holds(f.kind)
	}
	return times{math.MinInt64, math.MaxInt64}
}
