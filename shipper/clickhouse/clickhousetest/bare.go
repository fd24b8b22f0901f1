package clickhousetest

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// Bare inserts rows with nothing but clickhouse-go: the ceiling that benchmarks
// hold the product's way into a table against.
type Bare struct {
	conn  driver.Conn
	table string
}

// Columns are rows ready to be sent: a slice of values for each column.
type Columns struct {
	names  []string
	values []any
}

// DialBare connects to a server, by "http" or "native", compressing as the
// product does, until the test ends.
func DialBare(tb testing.TB, addr, table, protocol string) *Bare {
	tb.Helper()
	o := &driver.Options{Addr: []string{addr}, Compression: &driver.Compression{Method: driver.CompressionLZ4}}
	if protocol == "http" {
		o.Protocol = driver.HTTP
	}
	conn, err := driver.Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() }) // nothing is in flight
	return &Bare{conn: conn, table: table}
}

// Read returns the table's rows that a condition selects, in the order of seq, in
// which a cursor inserts them. In the table's own order they would come back
// sorted, and spare the server that they are inserted into the work of sorting.
func (b *Bare) Read(ctx context.Context, where string) (*Columns, error) {
	rows, err := b.conn.Query(ctx, "SELECT * FROM "+b.table+" WHERE "+where+" ORDER BY seq")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	c := &Columns{names: rows.Columns()}
	row := make([]any, len(c.names))
	slices := make([]reflect.Value, len(row))
	for i, t := range rows.ColumnTypes() {
		row[i] = reflect.New(t.ScanType()).Interface()
		slices[i] = reflect.MakeSlice(reflect.SliceOf(t.ScanType()), 0, 0)
	}
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return nil, err
		}
		for i := range row {
			slices[i] = reflect.Append(slices[i], reflect.ValueOf(row[i]).Elem())
		}
	}
	for _, s := range slices {
		c.values = append(c.values, s.Interface())
	}
	return c, rows.Err()
}

// Insert sends the rows as one block and returns once the server has them.
func (b *Bare) Insert(ctx context.Context, c *Columns) error {
	ctx = driver.Context(ctx, driver.WithSettings(driver.Settings{"insert_deduplicate": 0}))
	batch, err := b.conn.PrepareBatch(ctx, fmt.Sprintf("INSERT INTO %s (%s)", b.table, strings.Join(c.names, ", ")))
	if err != nil {
		return err
	}
	for i, values := range c.values {
		if err := batch.Column(i).Append(values); err != nil {
			return fmt.Errorf("column %s: %w", c.names[i], err)
		}
	}
	return batch.Send()
}
