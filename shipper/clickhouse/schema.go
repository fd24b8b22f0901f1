package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"forebay/shipper/columns"
)

// tokenWindow is how many inserts a created table remembers the tokens of;
// tokenSeconds for how long, where it is replicated.
const (
	tokenWindow  = 10_000
	tokenSeconds = 7 * 24 * 3600
)

// Schema is what has to be done so that the table is as this package would
// create it.
type Schema struct {
	Statements  []string `json:"statements"`  // in order; empty when nothing is to be done
	Differences []string `json:"differences"` // one line each, also what no statement can change
}

// Shown are the statements that create the table from nothing.
type Shown struct {
	Statements []string
	Version    string // of the server that they are for; "" if none answered
	Err        error  // why none did
}

// Show returns the statements for the server that answers or, where none does,
// for a current one. It changes nothing.
func Show(ctx context.Context, o Options) (Shown, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Shown{}, err
	}
	o.ReadTimeout = min(o.ReadTimeout, o.DialTimeout)
	srv, err := o.anyServer(ctx)
	if err != nil {
		return Shown{Statements: o.createStatements(current), Err: err}, nil
	}
	defer srv.close()
	return Shown{Statements: o.createStatements(srv.dialect), Version: srv.version}, nil
}

func (o Options) createStatements(d dialect) []string {
	var out []string
	if o.Database != "default" {
		out = append(out, "CREATE DATABASE IF NOT EXISTS "+quoteName(o.Database)+o.onCluster())
	}
	return append(out, o.createTable(d))
}

func (o Options) onCluster() string {
	if o.Cluster == "" {
		return ""
	}
	return " ON CLUSTER " + quoteName(o.Cluster)
}

func (o Options) createTable(d dialect) string {
	var b strings.Builder
	b.WriteString("CREATE TABLE IF NOT EXISTS " + o.name() + o.onCluster() + "\n(\n")
	for i, c := range fields {
		comma := ","
		if i == len(fields)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, "    %s %s%s\n", quoteName(c.name), d.typeFor(c, false), comma)
	}
	b.WriteString(")\nENGINE = " + o.engine() + `
PARTITION BY toDate(received_at)
ORDER BY (project_id, session_id, received_at, log_id, seq)
`)
	if o.TTL > 0 && d.modern {
		b.WriteString("TTL " + o.ttl() + "\n")
	}
	if settings := o.tableSettings(d); len(settings) > 0 {
		b.WriteString("SETTINGS " + strings.Join(settings, ", "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (o Options) engine() string {
	if o.Replicated == nil {
		return "ReplacingMergeTree"
	}
	return "ReplicatedReplacingMergeTree(" + quoteText(o.Replicated.Path) + ", " + quoteText(o.Replicated.Replica) + ")"
}

func (o Options) ttl() string {
	return fmt.Sprintf("toDateTime(received_at) + toIntervalSecond(%d)", int64(o.TTL/time.Second))
}

// tableSettings: an insert is on disk when it is acknowledged, its token is
// remembered, and expired rows go by whole parts, as far as the server can.
func (o Options) tableSettings(d dialect) []string {
	all := []string{"fsync_after_insert = 1", "fsync_part_directory = 1", "ttl_only_drop_parts = 1"}
	if o.Replicated == nil {
		all = append(all, fmt.Sprintf("non_replicated_deduplication_window = %d", tokenWindow))
	} else {
		all = append(all,
			fmt.Sprintf("replicated_deduplication_window = %d", tokenWindow),
			fmt.Sprintf("replicated_deduplication_window_seconds = %d", tokenSeconds))
	}
	return slices.DeleteFunc(all, func(setting string) bool { return !d.knows(setting) })
}

// create makes the database and the table.
func (s *Sink) create(ctx context.Context, srv *server) error {
	for _, statement := range s.opts.createStatements(srv.dialect) {
		if err := srv.exec(ctx, statement); err != nil {
			return fmt.Errorf("create table %s (or create it yourself, see forebay schema show, and set create_table: false): %w", s.opts.name(), err)
		}
	}
	s.opts.Logger.Info("created the ClickHouse table", "addr", srv.addr, "table", s.opts.Database+"."+s.opts.Table)
	if s.opts.TTL > 0 && !srv.dialect.modern {
		s.opts.Logger.Warn(srv.dialect.noTTL(), "addr", srv.addr, "table", s.opts.Database+"."+s.opts.Table)
	}
	return nil
}

// Plan compares the table on the first address that answers with what this
// package would create, and changes nothing.
func Plan(ctx context.Context, o Options) (Schema, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Schema{}, err
	}
	srv, err := o.anyServer(ctx)
	if err != nil {
		return Schema{}, err
	}
	defer srv.close()
	return o.plan(ctx, srv)
}

func (o Options) plan(ctx context.Context, srv *server) (Schema, error) {
	t, err := srv.inspect(ctx, o.Database, o.Table)
	if err != nil {
		return Schema{}, err
	}
	if !t.exists() {
		return Schema{o.createStatements(srv.dialect), []string{"table " + o.Database + "." + o.Table + " does not exist, or user " + o.Username + " may not see it"}}, nil
	}
	return o.compare(t), nil
}

// Apply runs the statements of Plan and returns what it has run. It stops at
// the first that fails; running it again takes up what is left.
func Apply(ctx context.Context, o Options) (Schema, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Schema{}, err
	}
	srv, err := o.anyServer(ctx)
	if err != nil {
		return Schema{}, err
	}
	defer srv.close()
	plan, err := o.plan(ctx, srv)
	if err != nil {
		return Schema{}, err
	}
	for i, statement := range plan.Statements {
		if err := srv.exec(ctx, statement); err != nil {
			plan.Statements = plan.Statements[:i]
			return plan, fmt.Errorf("%s: %w", statement, err)
		}
	}
	return plan, nil
}

// anyServer connects to the first address that answers.
func (o Options) anyServer(ctx context.Context) (*server, error) {
	var first error
	for _, addr := range o.Addrs {
		conn, err := o.dial(ctx, addr)
		if err == nil {
			srv := &server{addr: addr, conn: conn, timeout: o.ReadTimeout}
			if err = srv.learnServer(ctx); err == nil {
				return srv, nil
			}
			srv.close()
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// compare lists what the existing table lacks.
func (o Options) compare(t table) Schema {
	var s Schema
	add := func(difference, statement string) {
		s.Differences = append(s.Differences, difference)
		if statement != "" {
			s.Statements = append(s.Statements, statement)
		}
	}
	for _, m := range t.mismatches(!o.CreateTable) {
		add(m.String(), m.alter(o, t))
	}
	for _, m := range t.absent() {
		if !o.CreateTable {
			add(m.String()+": its values are not stored", "")
		} else if m.column.name == columns.ExtraName {
			add(m.String(), m.alter(o, t))
		}
	}
	if !o.CreateTable {
		return s
	}
	alter := "ALTER TABLE " + o.name() + o.onCluster()
	if !strings.Contains(t.engine, "ReplacingMergeTree") {
		add("engine is "+t.engine+", not ReplacingMergeTree: duplicates after a rewind stay; only a new table can change that", "")
	}
	if o.TTL > 0 && !t.dialect.modern {
		add(t.dialect.noTTL(), "")
	} else if o.TTL != t.ttl {
		statement := alter + " REMOVE TTL"
		if o.TTL > 0 {
			statement = alter + " MODIFY TTL " + o.ttl()
		}
		add(fmt.Sprintf("ttl is %s, not %s", t.ttl, o.TTL), statement)
	}
	for _, setting := range o.tableSettings(t.dialect) {
		if !strings.Contains(t.full, setting) {
			add("setting "+setting+" is not there", alter+" MODIFY SETTING "+setting)
		}
	}
	return s
}
