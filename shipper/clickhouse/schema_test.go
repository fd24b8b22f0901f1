package clickhouse

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"forebay/shipper/clickhouse/clickhousetest"
	"forebay/shipper/columns"
	"forebay/wal"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestShow compares the statements with the golden files.
func TestShow(t *testing.T) {
	month := 30 * 24 * time.Hour
	for name, o := range map[string]Options{
		"single":           {TTL: month},
		"for_ever":         {Database: "product", Table: "clicks"},
		"replicated":       {TTL: month, Replicated: &Replicated{}},
		"cluster":          {TTL: month, Cluster: "main", Database: "product", Replicated: &Replicated{Path: "/tables/{shard}/{database}/{table}", Replica: "{host}"}},
		"cluster_of_ones":  {TTL: month, Cluster: "main"},
		"short_ttl_native": {TTL: 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			o.Addrs = []string{"127.0.0.1:1"} // where nothing answers
			shown, err := Show(t.Context(), o)
			if err != nil || shown.Err == nil || shown.Version != "" {
				t.Fatalf("%+v, %v", shown, err)
			}
			got := strings.Join(shown.Statements, ";\n\n") + ";\n"
			file := filepath.Join("testdata", name+".sql")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s (go test -update writes it anew):\n%s", file, got)
			}
		})
	}
}

// TestOldServer: the table is created with what the server knows, and says what
// it does not; nothing else is left to be done.
func TestOldServer(t *testing.T) {
	server := clickhousetest.StartServer(t)
	for name, o := range map[string]Options{
		"ttl":      {TTL: time.Hour},
		"for ever": {Database: "product"},
	} {
		t.Run(name, func(t *testing.T) {
			o.Addrs, o.CreateTable = []string{server.Addr()}, true
			shown, err := Show(t.Context(), o)
			if err != nil || shown.Err != nil || !strings.HasPrefix(shown.Version, "18.16.") {
				t.Fatalf("%+v, %v", shown, err)
			}
			plan, err := Plan(t.Context(), o)
			if err != nil || !slices.Equal(plan.Statements, shown.Statements) {
				t.Fatalf("planned %q (%v), shown %q", plan.Statements, err, shown.Statements)
			}
			r := newRig(t)
			r.append(100)
			r.start(o)
			r.shipped()
			database := "default"
			if o.Database != "" {
				database = o.Database
			}
			if got := server.MustQuery(t, "SELECT count(), uniqExact(seq), countIf(route != '' AND toDate(received_at) = today()) FROM "+database+".events"); got != "100\t100\t100" {
				t.Errorf("stored %q", got)
			}
			if got := r.sink.Stats().Lacking(); len(got) > 0 {
				t.Errorf("the table that was created lacks %+v", got)
			}
			if plan, err = Plan(t.Context(), o); err != nil || len(plan.Statements) > 0 {
				t.Errorf("after creating there is left: %+v (%v)", plan, err)
			}
			if told := strings.Contains(strings.Join(plan.Differences, " "), "knows no TTL"); told != (o.TTL > 0) {
				t.Errorf("differences: %q", plan.Differences)
			}
			server.MustQuery(t, "ALTER TABLE "+database+".events DROP COLUMN route")
			done, err := Apply(t.Context(), o)
			if err != nil || len(done.Statements) != 1 {
				t.Errorf("applied %+v (%v)", done, err)
			}
			r.append(10)
			r.shipped()
		})
	}
}

// TestOldServerOverHTTP: its HTTP is not what the driver speaks, which is said in
// one line.
func TestOldServerOverHTTP(t *testing.T) {
	server, o := startOld(t)
	o.Addrs, o.Protocol = []string{server.HTTPAddr()}, HTTP
	all, err := Examine(t.Context(), o)
	if err != nil || len(all) != 1 || all[0].Err == nil || !strings.HasSuffix(all[0].Err.Error(), "too old for protocol http") || !strings.Contains(all[0].Advice, "protocol: native") {
		t.Errorf("%+v, %v", all, err)
	}
	r := newRig(t)
	r.append(1)
	r.start(o)
	if got := r.paused(); !strings.Contains(got, "protocol: native") {
		t.Errorf("paused because %s", got)
	}
}

// TestTooOld: what was never tried is said to be so.
func TestTooOld(t *testing.T) {
	for version, old := range map[string]bool{"1.1.54388": true, "18.14.19": true, "18.16.1": false, "26.7.3.1": false} {
		if got := (dialect{version: version}).tooOld(); (got != "") != old {
			t.Errorf("%s: %q", version, got)
		}
	}
}

// TestEveryColumnHasValues: the columns of the table are those of a row, and
// each has a place in a block.
func TestEveryColumnHasValues(t *testing.T) {
	var names []string
	for _, c := range fields {
		names = append(names, c.name)
	}
	if want := append(columns.Names(), columns.ExtraName); !slices.Equal(names, want) {
		t.Errorf("columns %q, want %q", names, want)
	}
	b := &block{seqs: []uint64{1}, received: []int64{1}, timestamps: []int64{1}}
	for i := range b.texts {
		b.texts[i].add("x")
	}
	for _, c := range fields {
		if b.values(c, found{kind: c.ddl}, []int{0}, new([]string)) == nil {
			t.Errorf("column %s has no values", c.name)
		}
	}
}

func TestPlanAndApply(t *testing.T) {
	engine, o := startEngine(t)
	o.Database = "product"
	apply := func(differences int) {
		t.Helper()
		plan, err := Plan(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Differences) != differences || len(plan.Statements) < differences {
			t.Fatalf("plan: %q, want %d differences and a statement for each", plan, differences)
		}
		done, err := Apply(t.Context(), o)
		if err != nil || !slices.Equal(done.Statements, plan.Statements) {
			t.Fatalf("applied %q (%v), planned %q", done.Statements, err, plan.Statements)
		}
		if plan, err = Plan(t.Context(), o); err != nil || len(plan.Statements) != 0 || len(plan.Differences) != 0 {
			t.Fatalf("after applying there is left: %q (%v)", plan, err)
		}
	}
	apply(1) // all of it
	engine.MustQuery(t, "ALTER TABLE product.events DROP COLUMN extra, DROP COLUMN route, MODIFY COLUMN app_id UInt8, MODIFY COLUMN sdk_version String MATERIALIZED 'x'")
	engine.MustQuery(t, "ALTER TABLE product.events MODIFY TTL toDateTime(received_at) + toIntervalDay(2)")
	engine.MustQuery(t, "ALTER TABLE product.events RESET SETTING non_replicated_deduplication_window")
	apply(6)
	o.TTL = 0
	apply(1)

	r := newRig(t)
	r.append(10)
	r.start(o)
	r.shipped()
	if got := engine.MustQuery(t, "SELECT count() FROM product.events"); got != "10" {
		t.Errorf("%s rows", got)
	}
}

// TestOperatorsTables fills tables of other shapes.
func TestOperatorsTables(t *testing.T) {
	old, oldOptions := startOld(t)
	engine, engineOptions := startEngine(t)
	engineOptions.CreateTable = false
	for name, c := range map[string]struct {
		server  oracle
		options Options
		table   string
		check   string
	}{
		"subset in another order, on 18.16": {old, oldOptions, `seq UInt64, own String DEFAULT 'x', log_id FixedString(32), received_at DateTime,
			timestamp DateTime('Asia/Tokyo'), event_type String, session_id String, project_id String) ENGINE = MergeTree()
			PARTITION BY toYYYYMM(received_at) ORDER BY seq`, "own = 'x' AND toUnixTimestamp(timestamp) = 1795428000"},
		"wider types": {engine, engineOptions, `seq UInt256, log_id String, received_at DateTime64(9, 'America/New_York'), timestamp Nullable(DateTime64(6)),
			event_type LowCardinality(Nullable(String)), session_id Nullable(String), project_id LowCardinality(String), metadata String, x String MATERIALIZED upper(metadata))
			ENGINE = ReplacingMergeTree ORDER BY (log_id, seq)`, "toUnixTimestamp64Milli(assumeNotNull(timestamp)) = 1795428000000 + toUInt64(seq) % 1000"},
		"signed, nullable, whole seconds": {engine, engineOptions, `project_id String, session_id String, event_type String, timestamp Nullable(DateTime), received_at DateTime('UTC'),
			log_id LowCardinality(String), seq Nullable(Int64), node_id String) ENGINE = MergeTree ORDER BY project_id`, "node_id = 'edge-1' AND toUnixTimestamp(timestamp) = 1795428000"},
		"many partitions": {engine, engineOptions, `project_id String, session_id String, event_type String, timestamp DateTime, received_at DateTime('UTC'),
			log_id LowCardinality(String), seq UInt64) ENGINE = MergeTree PARTITION BY seq % 7 ORDER BY seq SETTINGS non_replicated_deduplication_window = 100`, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.MustQuery(t, "DROP TABLE IF EXISTS events")
			c.server.MustQuery(t, "CREATE TABLE events ("+c.table)
			r := newRig(t)
			r.append(200)
			r.start(c.options)
			r.shipped()
			r.append(200)
			r.shipped()
			wantEach(t, c.server, "", 400)
			if got := c.server.MustQuery(t, "SELECT countIf("+c.check+") FROM events"); got != "400" {
				t.Errorf("%s rows are as expected", got)
			}
			if stats := r.sink.Stats(); !slices.ContainsFunc(stats.Schema, func(s string) bool { return strings.Contains(s, "its values are not stored") }) {
				t.Errorf("the status does not say what is not stored: %q", stats.Schema)
			}
			// A plan whose outcome is open is found in such a table, too.
			var reached atomic.Bool
			r.state.BeforeCommit = denyAdvance(&reached)
			r.append(50)
			eventually(t, reached.Load, func() string { return "not inserted" })
			r.die()
			r.state.BeforeCommit = nil
			r.start(c.options)
			r.shipped()
			wantEach(t, c.server, "", 450)
		})
	}
}

// TestDaysAndTTL: rows lie in partitions by the UTC day of their receipt,
// a plan keeps to one, and old rows go.
func TestDaysAndTTL(t *testing.T) {
	engine, o := startEngine(t)
	o.TTL = time.Hour
	if _, err := Apply(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	engine.MustQuery(t, "SYSTEM STOP TTL MERGES events")
	midnight := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -2)
	var clock atomic.Int64 // nanoseconds after the last second of the day began
	log, err := wal.Open(wal.Options{Dir: t.TempDir(), SyncInterval: time.Second, Now: func() time.Time {
		return midnight.Add(-time.Second + time.Duration(clock.Load()))
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := rigOver(t, log)
	for range 3 {
		r.append(10)
		clock.Add(int64(700 * time.Millisecond))
	}
	r.start(o)
	r.shipped()
	last := log.DurableSeq()
	wantEach(t, engine, "", last)
	want := fmt.Sprintf("%s\n%s", midnight.Add(-time.Second).Format(time.DateOnly), midnight.Format(time.DateOnly))
	if got := engine.MustQuery(t, "SELECT DISTINCT partition FROM system.parts WHERE table = 'events' AND active ORDER BY partition"); got != want {
		t.Errorf("partitions %q, want %q", got, want)
	}
	engine.MustQuery(t, "SYSTEM START TTL MERGES events")
	engine.MustQuery(t, "OPTIMIZE TABLE events FINAL")
	eventually(t, func() bool { return engine.MustQuery(t, "SELECT count() FROM events") == "0" }, func() string { return "old rows stay" })
}
