package clickhouse

import (
	"context"
	"errors"
	"maps"
	"net"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// insert sends the rows selected as one block under the token, which is also
// the query's id. A nil error is the server's acknowledgement. After any other
// the outcome is open if sent is true; if not, no row left this process.
func (c *server) insert(ctx context.Context, b *block, rows []int, token string) (sent bool, err error) {
	ctx, cancel := withTimer(ctx, 2*c.timeout)
	defer cancel()
	settings := maps.Clone(c.settings)
	if c.tokens {
		settings["insert_deduplication_token"] = token
	}
	var types []driver.ColumnNameAndType // HTTP would ask for them before each insert
	for _, col := range fields {
		if f, has := c.table.columns[col.name]; has {
			types = append(types, driver.ColumnNameAndType{Name: col.name, Type: f.kind})
		}
	}
	request := driver.Context(ctx, driver.WithQueryID(token), driver.WithSettings(settings), driver.WithColumnNamesAndTypes(types))
	batch, err := c.conn.PrepareBatch(request, c.into)
	if err != nil {
		return false, c.failed(ctx, "insert", err)
	}
	defer func() {
		if err != nil && !batch.IsSent() {
			err = errors.Join(err, batch.Abort())
		}
	}()
	at, scratch := 0, make([]string, 0, len(rows))
	for _, col := range fields {
		f, has := c.table.columns[col.name]
		if !has {
			continue
		}
		if err := batch.Column(at).Append(b.values(col, f, rows, &scratch)); err != nil {
			return false, c.failed(ctx, "insert", err)
		}
		at++
	}
	if err := batch.Send(); err != nil {
		return !undialled(err), c.failed(ctx, "insert", err)
	}
	return true, nil
}

// undialled tells whether err is that no connection could be made. HTTP may
// find that out only when it sends.
func undialled(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// slack widens the bounds in time of a read, in seconds. They only spare the
// server other parts, and an exact one does too much: compared with a
// DateTime, ClickHouse 26.7 prunes parts of DateTime64 by whole seconds, and
// loses rows of the last one.
const slack = 2

// present reads which seqs of the block's range are in the table. It waits
// for nothing: see running.
func (c *server) present(ctx context.Context, b *block) (map[uint64]bool, error) {
	from, until := b.received[0], b.received[0]
	for _, ms := range b.received {
		from, until = min(from, ms), max(until, ms)
	}
	query := "SELECT toUInt64(uniqExact(seq)), groupUniqArray(toUInt64(assumeNotNull(seq))) FROM " + c.table.name +
		" WHERE log_id = " + quoteText(b.logID) +
		" AND seq >= " + number(b.seqs[0]) + " AND seq <= " + number(b.seqs[len(b.seqs)-1]) +
		" AND received_at >= toDateTime(" + number(uint64(floorSeconds(from)-slack)) + ")" +
		" AND received_at <= toDateTime(" + number(uint64(floorSeconds(until)+slack)) + ")"
	var count uint64
	var seqs []uint64
	if err := c.queryRow(ctx, query, &count, &seqs); err != nil {
		return nil, err
	}
	have := make(map[uint64]bool, len(seqs))
	for _, seq := range seqs {
		have[seq] = true
	}
	if uint64(len(have)) != count {
		return nil, errors.New(c.addr + ": read: the answer is not whole")
	}
	return have, nil
}

// running tells whether the server still works on an insert of the token, or
// of one of its repairs.
func (c *server) running(ctx context.Context, token string) (bool, error) {
	var n uint64
	err := c.queryRow(ctx, "SELECT count() FROM system.processes WHERE startsWith(query_id, "+quoteText(token)+")", &n)
	return n > 0, err
}
