package clickhouse

import (
	"math/big"
	"slices"
	"strings"
	"time"
)

// kind is what a column holds.
type kind int

const (
	text kind = iota
	instant
	ordinal
)

// column is one of the columns that are filled.
type column struct {
	name     string
	kind     kind
	ddl      string // in a created table
	required bool   // in an operator's own table too
}

// fields are the columns in the order of a created table. What identifies an
// event and its session is required everywhere: the cursor could not settle
// a plan without it.
var fields = [...]column{
	{"project_id", text, "LowCardinality(String)", true},
	{"session_id", text, "String CODEC(ZSTD(1))", true},
	{"event_type", text, "LowCardinality(String)", true},
	{"timestamp", instant, "DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))", true},
	{"received_at", instant, "DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1))", true},
	{"route", text, "String CODEC(ZSTD(1))", false},
	{"target_type", text, "LowCardinality(String)", false},
	{"target_id", text, "String CODEC(ZSTD(1))", false},
	{"target_selector", text, "String CODEC(ZSTD(1))", false},
	{"target_tag", text, "LowCardinality(String)", false},
	{"metadata", text, "String CODEC(ZSTD(1))", false},
	{"environment", text, "LowCardinality(String)", false},
	{"idempotency_key", text, "String CODEC(ZSTD(1))", false},
	{"sdk_version", text, "LowCardinality(String)", false},
	{"app_id", text, "LowCardinality(String)", false},
	{"node_id", text, "LowCardinality(String)", false},
	{"log_id", text, "LowCardinality(String)", true},
	{"seq", ordinal, "UInt64 CODEC(Delta(8), ZSTD(1))", true},
	{"extra", text, "String CODEC(ZSTD(1))", false},
}

// optional are the names of the columns that a table may lack.
func optional() []string {
	var names []string
	for _, c := range fields {
		if !c.required {
			names = append(names, c.name)
		}
	}
	return names
}

// found is a column as it is in the table.
type found struct {
	kind     string // its type, as the server writes it
	computed string // MATERIALIZED, ALIAS or EPHEMERAL, in which nothing inserted is stored, or ""
}

// unwrap takes the wrappers off a type that change nothing for inserting.
func unwrap(t string) string {
	for {
		inner, ok := "", false
		for _, w := range []string{"Nullable(", "LowCardinality("} {
			if inner, ok = strings.CutPrefix(t, w); ok {
				break
			}
		}
		if !ok {
			return t
		}
		t = strings.TrimSuffix(inner, ")")
	}
}

// fits tells whether a column of the type holds every value.
func (c column) fits(columnType string) bool {
	t := unwrap(columnType)
	switch c.kind {
	case text:
		return t == "String" || c.name == "log_id" && t == "FixedString(32)"
	case instant:
		return isDateTime(t) || strings.HasPrefix(t, "DateTime64(")
	case ordinal:
		return slices.Contains([]string{"UInt64", "Int64", "UInt128", "Int128", "UInt256", "Int256"}, t)
	}
	return false
}

func isDateTime(t string) bool { return t == "DateTime" || strings.HasPrefix(t, "DateTime('") }

// form is what decides which values a type of the column is given.
func (c column) form(columnType string) string {
	t := unwrap(columnType)
	switch {
	case c.kind == ordinal:
		return t
	case c.kind == instant && isDateTime(t):
		return "DateTime"
	}
	return ""
}

// times makes the values of an instant column, cut to its precision: the
// driver takes whole seconds for DateTime, milliseconds for DateTime64, and
// would cut those before 1970 upwards.
func (f found) times(millis []int64) any {
	seconds := isDateTime(unwrap(f.kind))
	tick := f.tick()
	if tick == 1 {
		return millis
	}
	cut := make([]int64, len(millis))
	for i, ms := range millis {
		cut[i] = ms - ((ms%tick)+tick)%tick
		if seconds {
			cut[i] /= 1000
		}
	}
	return cut
}

// tick is how many milliseconds apart the times are that the column holds.
func (f found) tick() int64 {
	switch precision, _, _ := strings.Cut(strings.TrimPrefix(unwrap(f.kind), "DateTime64("), ","); strings.TrimSuffix(precision, ")") {
	case "2":
		return 10
	case "1":
		return 100
	case "0":
		return 1000
	}
	if isDateTime(unwrap(f.kind)) {
		return 1000
	}
	return 1
}

func floorSeconds(ms int64) int64 { return time.UnixMilli(ms).Unix() }

// ordinals makes the values of a number column.
func (f found) ordinals(seqs []uint64) any {
	switch unwrap(f.kind) {
	case "UInt64":
		return seqs
	case "Int64":
		out := make([]int64, len(seqs))
		for i, n := range seqs {
			out[i] = int64(n)
		}
		return out
	}
	out := make([]*big.Int, len(seqs))
	for i, n := range seqs {
		out[i] = new(big.Int).SetUint64(n)
	}
	return out
}
