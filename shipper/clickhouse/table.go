package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"forebay/shipper/columns"
)

// table is what the server says of the table.
type table struct {
	name    string // with its database, quoted
	columns map[string]found
	engine  string
	full    string        // engine with its clauses and settings
	ttl     time.Duration // of received_at; 0 if there is none that can be read
	window  uint64        // inserts whose tokens the table remembers
	dialect dialect
}

func (t table) exists() bool { return len(t.columns) > 0 }

// replicated tells whether all addresses show the same rows.
func (t table) replicated() bool {
	return strings.HasPrefix(t.engine, "Replicated") || strings.HasPrefix(t.engine, "Shared")
}

// filled lists the columns that are inserted, quoted, in the order of fields.
func (t table) filled() []string {
	var names []string
	for _, c := range fields {
		if _, has := t.columns[c.name]; has {
			names = append(names, quoteName(c.name))
		}
	}
	return names
}

// inspect reads the table; one that is not there, or not to be seen by the
// user, has no columns.
func (c *server) inspect(ctx context.Context, database, name string) (table, error) {
	t := table{name: quoteName(database) + "." + quoteName(name), dialect: c.dialect}
	var err error
	if t.columns, err = c.columns(ctx, database, name); err != nil || !t.exists() {
		return t, err
	}
	where := " WHERE database = " + quoteText(database) + " AND "
	err = c.queryRow(ctx, "SELECT any(engine), any(engine_full) FROM system.tables"+where+"name = "+quoteText(name), &t.engine, &t.full)
	if err != nil {
		return t, err
	}
	t.ttl = readTTL(t.full)
	if t.window, err = c.window(ctx, t); err != nil {
		return t, err
	}
	return t, nil
}

// columns reads those of a table, by their names.
func (c *server) columns(ctx context.Context, database, name string) (map[string]found, error) {
	var names, types, defaults []string
	err := c.queryRow(ctx, "SELECT groupArray(name), groupArray(type), groupArray(default_kind) FROM system.columns"+
		" WHERE database = "+quoteText(database)+" AND table = "+quoteText(name), &names, &types, &defaults)
	if err != nil {
		return nil, err
	}
	all := make(map[string]found, len(names))
	for i := range names {
		f := found{kind: types[i]}
		switch defaults[i] {
		case "MATERIALIZED", "ALIAS", "EPHEMERAL":
			f.computed = defaults[i]
		}
		all[names[i]] = f
	}
	return all, nil
}

// window reads how many tokens the table keeps: its own setting, or else the
// server's default, which is none where the server does not know of it.
func (c *server) window(ctx context.Context, t table) (uint64, error) {
	setting := "non_replicated_deduplication_window"
	if t.replicated() {
		setting = "replicated_deduplication_window"
	}
	if m := regexp.MustCompile(`\b` + setting + ` = (\d+)`).FindStringSubmatch(t.full); m != nil {
		return strconv.ParseUint(m[1], 10, 64)
	}
	var value string
	err := c.queryRow(ctx, "SELECT any(value) FROM system.merge_tree_settings WHERE name = "+quoteText(setting), &value)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, nil // "": the server has no such setting
	}
	return n, nil
}

var ttlClause = regexp.MustCompile(`TTL [^,]*received_at\)? \+ toInterval(Second|Minute|Hour|Day|Week|Month|Year)\((\d+)\)`)

// readTTL finds how long rows stay, in the form that a created table and most
// others have.
func readTTL(engine string) time.Duration {
	m := ttlClause.FindStringSubmatch(engine)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseInt(m[2], 10, 32)
	if err != nil {
		return 0
	}
	day := 24 * time.Hour
	unit := map[string]time.Duration{
		"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour, "Day": day,
		"Week": 7 * day, "Month": 28 * day, "Year": 365 * day,
	}
	return time.Duration(n) * unit[m[1]]
}

// fits returns an *operatorError if the rows cannot be inserted.
func (o Options) fits(t table) error {
	name := o.Database + "." + o.Table
	if !t.exists() {
		return &operatorError{
			"create the table (forebay schema apply), or mend shippers.clickhouse.database and table, or grant user " + o.Username + " SELECT and INSERT on it",
			fmt.Errorf("table %s does not exist, or user %s may not see it", name, o.Username),
		}
	}
	var wrong, statements []string
	for _, m := range t.mismatches(!o.CreateTable) {
		wrong = append(wrong, m.String())
		statements = append(statements, m.alter(o, t))
	}
	if wrong == nil {
		return nil
	}
	return &operatorError{"run " + strings.Join(statements, "; "), fmt.Errorf("table %s: %s", name, strings.Join(wrong, ", "))}
}

// mismatch is a column that is missing or cannot hold its values.
type mismatch struct {
	column column
	has    *found // nil: missing
}

// mismatches compares the table with what is to be inserted; own says that
// it is an operator's, where only what is required has to be there. Extra is
// wanted, but missed nowhere.
func (t table) mismatches(own bool) []mismatch {
	var out []mismatch
	for _, c := range fields {
		f, has := t.columns[c.name]
		switch {
		case !has && (c.required || !own && c.name != columns.ExtraName):
			out = append(out, mismatch{c, nil})
		case has && (f.computed != "" || !c.fits(f.kind)):
			out = append(out, mismatch{c, &f})
		}
	}
	return out
}

// absent lists the optional columns that the table does not have.
func (t table) absent() []mismatch {
	var out []mismatch
	for _, c := range fields {
		if _, has := t.columns[c.name]; !has && !c.required {
			out = append(out, mismatch{c, nil})
		}
	}
	return out
}

// alter is the statement that mends m.
func (m mismatch) alter(o Options, t table) string {
	change := "ADD COLUMN " + quoteName(m.column.name) + " " + t.dialect.typeFor(m.column, !o.CreateTable)
	switch {
	case m.has == nil:
	case m.has.computed != "":
		change = "MODIFY COLUMN " + quoteName(m.column.name) + " REMOVE " + m.has.computed
	default:
		change = strings.Replace(change, "ADD", "MODIFY", 1)
	}
	return "ALTER TABLE " + o.name() + o.onCluster() + " " + change
}

func (m mismatch) String() string {
	switch {
	case m.has == nil:
		return "column " + m.column.name + " is missing"
	case m.has.computed != "":
		return fmt.Sprintf("column %s is %s: nothing that is inserted is stored in it", m.column.name, m.has.computed)
	}
	return fmt.Sprintf("column %s is %s, which cannot hold its values", m.column.name, m.has.kind)
}
