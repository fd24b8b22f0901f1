package clickhouse

import (
	"context"
	"errors"
	"maps"
	"net"
	"time"

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
	var known []driver.ColumnNameAndType // HTTP would ask for them before each insert
	for _, col := range fields {
		if f, has := c.table.columns[col.name]; has {
			known = append(known, driver.ColumnNameAndType{Name: col.name, Type: f.kind})
		}
	}
	request := driver.Context(expecting(ctx, answerStored), driver.WithQueryID(token), driver.WithSettings(settings), driver.WithColumnNamesAndTypes(known))
	batch, err := c.conn.PrepareBatch(request, c.into)
	if err != nil {
		return false, c.failed(ctx, "insert", err)
	}
	defer func() {
		if err != nil && !batch.IsSent() {
			err = errors.Join(err, batch.Abort())
		}
	}()
	columns := batch.Columns()
	types, err := c.offered(columns)
	if err == nil && c.unfit(b, rows) != nil {
		err = errOtherColumns // since the rows were looked through
	}
	if err != nil {
		return false, c.failed(ctx, "insert", err)
	}
	at, scratch := 0, make([]string, 0, len(rows))
	for _, col := range fields {
		if _, has := c.table.columns[col.name]; !has {
			continue
		}
		values := b.values(col, types[at], rows, &scratch)
		if texts, isText := values.([]string); isText {
			c.spare.lend(columns[at], texts)
		}
		if err := batch.Column(at).Append(values); err != nil {
			return false, c.failed(ctx, "insert", err)
		}
		at++
	}
	if err := batch.Send(); err != nil {
		return !undialled(err), c.failed(ctx, "insert", err)
	}
	c.spare.keep(columns)
	return true, nil
}

// undialled tells whether err is that no connection could be made. HTTP may
// find that out only when it sends.
func undialled(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// running tells whether the server still works on an insert whose token begins
// so, and since when the server runs.
func (c *server) running(ctx context.Context, prefix string) (_ bool, started time.Time, err error) {
	var n, seconds uint64
	err = c.queryRow(ctx, "SELECT count(), toUInt64(uptime()) FROM system.processes WHERE startsWith(query_id, "+quoteText(prefix)+")", &n, &seconds)
	return n > 0, time.Now().Add(-time.Duration(seconds) * time.Second), err
}

// startedBy is a time by which the server had been started, a second and the
// answer's time late at most.
func (c *server) startedBy(ctx context.Context) (time.Time, error) {
	var seconds uint64
	err := c.queryRow(ctx, "SELECT toUInt64(uptime())", &seconds)
	return time.Now().Add(-time.Duration(seconds) * time.Second), err
}
