package clickhouse

import (
	"context"
	"slices"
	"strings"
)

// dialect is what a server's version lets a statement say.
type dialect struct {
	version  string
	modern   bool     // it knows DateTime64, and so LowCardinality, codecs and TTL
	settings []string // of a table, that it knows
}

// Oldest is the oldest version that any of this was tried with.
const Oldest = "18.16"

// current is the dialect of a server that knows everything.
var current = dialect{modern: true, settings: []string{
	"fsync_after_insert", "fsync_part_directory", "ttl_only_drop_parts",
	"non_replicated_deduplication_window", "replicated_deduplication_window", "replicated_deduplication_window_seconds",
}}

// learnDialect asks the server what it knows.
func (c *server) learnDialect(ctx context.Context) error {
	var names []string
	for _, name := range current.settings {
		names = append(names, quoteText(name))
	}
	d := dialect{version: c.version}
	err := c.queryRow(ctx, "SELECT (SELECT count() > 0 FROM system.data_type_families WHERE name = 'DateTime64'), groupArray(name)"+
		" FROM system.merge_tree_settings WHERE name IN ("+strings.Join(names, ", ")+")", &d.modern, &d.settings)
	c.dialect = d
	return err
}

// knows tells whether a setting such as "name = 1" can be given to a table.
func (d dialect) knows(setting string) bool {
	name, _, _ := strings.Cut(setting, " ")
	return slices.Contains(d.settings, name)
}

// noTTL is what an operator has to know of a server without.
func (d dialect) noTTL() string {
	return "ClickHouse " + d.version + " knows no TTL, so rows stay for ever: drop old partitions yourself, and set shippers.clickhouse.ttl to 0"
}

// tooOld is why nothing is promised of the server, or "".
func (d dialect) tooOld() string {
	if parseRelease(d.version).before(18, 16) {
		return "ClickHouse " + d.version + " is older than " + Oldest + ", the oldest that was tried"
	}
	return ""
}

// typeFor is a column's type in a table that is created or, if own says that
// it is an operator's, the plain type of it.
func (d dialect) typeFor(c column, own bool) string {
	if !d.modern {
		return [...]string{text: "String", instant: "DateTime('UTC')", ordinal: "UInt64"}[c.kind]
	}
	if own {
		plain, _, _ := strings.Cut(c.ddl, " CODEC")
		return plain
	}
	return c.ddl
}
