package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// defaultTableAge is for how long what was learnt of a table is believed. Over
// HTTP the columns are read before each insert besides: there the server converts
// what it is sent, where over the native protocol it names its types first.
const defaultTableAge = 30 * time.Second

// learn reads the table, which has to take rows.
func (s *Sink) learn(ctx context.Context, srv *server) error {
	t, err := srv.inspect(ctx, s.opts.Database, s.opts.Table)
	if err != nil {
		return err
	}
	if !t.exists() && s.opts.CreateTable {
		if err := s.create(ctx, srv); err != nil {
			return err
		}
		if t, err = srv.inspect(ctx, s.opts.Database, s.opts.Table); err != nil {
			return err
		}
	}
	srv.table, srv.learnt = t, time.Now()
	s.stats.met(srv, s.opts.compare(t).Differences)
	s.tellUnstored(t)
	if err := s.opts.fits(t); err != nil {
		srv.doubt()
		return fmt.Errorf("%s: %w", srv.addr, err)
	}
	srv.into = "INSERT INTO " + s.opts.name() + " (" + strings.Join(t.filled(), ", ") + ")"
	return nil
}

// renew reads the table again where what is known of it may have changed.
func (s *Sink) renew(ctx context.Context, srv *server) error {
	if time.Since(srv.learnt) >= s.opts.tableAge {
		return s.learn(ctx, srv)
	}
	if s.opts.Protocol != HTTP {
		return nil
	}
	now, err := srv.columns(ctx, s.opts.Database, s.opts.Table)
	if err != nil || maps.Equal(now, srv.table.columns) {
		return err
	}
	return s.learn(ctx, srv)
}

// doubt has the table read again before the next insert.
func (c *server) doubt() { c.learnt = time.Time{} }

// shape names the columns that are inserted, and their types.
func (c *server) shape() string {
	var b strings.Builder
	for _, col := range fields {
		if f, has := c.table.columns[col.name]; has {
			fmt.Fprintf(&b, "%s %s,", col.name, f.kind)
		}
	}
	return b.String()
}

// errOtherColumns is that the server expects other values than those that the
// table was known to take.
var errOtherColumns = fmt.Errorf("the table's columns have changed: they are read again")

// offered returns the types that the server expects the filled columns in, or
// errOtherColumns if values made for the known ones might be taken for others.
func (c *server) offered(columns []chcolumn.Interface) ([]found, error) {
	var types []found
	for _, col := range fields {
		known, has := c.table.columns[col.name]
		if !has {
			continue
		}
		if len(types) == len(columns) {
			return nil, errOtherColumns
		}
		now := found{kind: string(columns[len(types)].Type())}
		if !col.fits(now.kind) || col.form(now.kind) != col.form(known.kind) {
			return nil, errOtherColumns
		}
		types = append(types, now)
	}
	return types, nil
}
