package node

import (
	"strings"

	"forebay/node/admin"
	"forebay/shipper/clickhouse"
)

// schema: does ClickHouse's table keep every column of an event? read is false
// until the table has been looked at.
func (h *health) schema() (c admin.Check, read bool) {
	if h.node.clickhouse == nil {
		return c, false
	}
	s := h.node.clickhouse.Stats()
	return schemaCheck(s), s.Table != ""
}

func schemaCheck(s clickhouse.Stats) admin.Check {
	const name = "schema"
	lacking := s.Lacking()
	if len(lacking) == 0 {
		return good(name)
	}
	var reasons, remedies []string
	for _, u := range lacking {
		reasons, remedies = append(reasons, u.String()), append(remedies, u.Remedy)
	}
	return bad(name, true, strings.Join(remedies, "; ")+unlessMeant(lacking),
		"table %s on %s: %s", s.Table, s.Addr, strings.Join(reasons, "; "))
}

// unlessMeant says how a table that is meant to lack a column is in order.
func unlessMeant(lacking []clickhouse.Unstored) string {
	for _, u := range lacking {
		if u.MayLack {
			return " (it goes on by itself; a column that is meant to be missing is named in shippers.clickhouse.optional_columns)"
		}
	}
	return ""
}

// unstored are the values that ClickHouse's table did not keep.
func (e emitter) unstored(s clickhouse.Stats) {
	for _, u := range s.Unstored {
		if u.Column != "" {
			e.counter("forebay_clickhouse_unstored_values_total",
				"Values of delivered events that the table has no column for, since the start.", float64(u.Values), "column", u.Column)
		}
	}
}
