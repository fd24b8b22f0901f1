package clickhouse

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// alteredTable starts shipping into an operator's table, which is altered.
func alteredTable(t *testing.T, test func(t *testing.T, r *rig, server oracle)) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		if o.CreateTable {
			o.CreateTable = false
			server.MustQuery(t, ownTable)
		}
		o.tableAge = 50 * time.Millisecond
		r := newRig(t)
		r.append(10)
		r.start(o)
		r.shipped()
		test(t, r, server)
	})
}

// TestAlteredTableHeals: what is known of the table follows it, without a
// restart, and nothing is lost or buried on the way.
func TestAlteredTableHeals(t *testing.T) {
	alteredTable(t, func(t *testing.T, r *rig, server oracle) {
		filled := func() string { return server.MustQuery(t, "SELECT countIf(route != '') FROM events") }
		server.MustQuery(t, "ALTER TABLE events DROP COLUMN route")
		r.append(10)
		r.shipped()
		server.MustQuery(t, "ALTER TABLE events ADD COLUMN route String")
		eventually(t, func() bool {
			r.append(1)
			r.shipped()
			return filled() != "0"
		}, func() string { return "the column that was added stays empty" })
		wantEach(t, server, "", r.log.DurableSeq())
	})
}

// TestAlteredTypePauses: a type that cannot take the values any more is no
// fault of the rows, however few they are.
func TestAlteredTypePauses(t *testing.T) {
	alteredTable(t, func(t *testing.T, r *rig, server oracle) {
		for _, rows := range []int{1, 2, 50} {
			server.MustQuery(t, "ALTER TABLE events DROP COLUMN route")
			server.MustQuery(t, "ALTER TABLE events ADD COLUMN route UInt32")
			r.append(rows)
			if got := r.paused(); !strings.Contains(got, "MODIFY COLUMN `route` String") {
				t.Errorf("paused because %q", got)
			}
			if dead := r.dead(); len(dead) > 0 {
				t.Fatalf("buried %v", dead)
			}
			server.MustQuery(t, "ALTER TABLE events MODIFY COLUMN route String")
			r.shipped()
			wantEach(t, server, "", r.log.DurableSeq())
		}
	})
}

// TestAlteredInstantIsStoredAsItIs: a column that becomes DateTime and back
// takes no other times than those that it holds.
func TestAlteredInstantIsStoredAsItIs(t *testing.T) {
	engine, o := startEngine(t)
	o.CreateTable = false
	engine.MustQuery(t, ownTable)
	r := newRig(t)
	r.start(o)
	const moment = `{"eventType":"click","timestamp":"1950-01-01T00:00:00.25Z","sessionId":"s"}`
	for i := range 4 {
		seconds := i%2 == 0
		columnType := "DateTime64(3)"
		if seconds {
			columnType = "DateTime"
		}
		engine.MustQuery(t, "ALTER TABLE events MODIFY COLUMN timestamp "+columnType)
		r.append(1)
		r.appendRaw(moment)
		r.shipped()
	}
	if got := fmt.Sprint(r.dead()); got != "[2 6]" {
		t.Errorf("dead letters %s, want those that came while the column was DateTime", got)
	}
	if got, want := engine.MustQuery(t, "SELECT toUnixTimestamp64Milli(timestamp) FROM events WHERE seq = 8"), fmt.Sprint(at("1950-01-01T00:00:00.25Z")); got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
	if got := engine.MustQuery(t, "SELECT count() FROM events"); got != "6" {
		t.Errorf("%s rows, want 6", got)
	}
}

// TestUnstoredIsTold: a column whose values are not kept is named with its
// statement, its values are counted, and it is gone from the list once it is
// there again, also while no event comes.
func TestUnstoredIsTold(t *testing.T) {
	alteredTable(t, func(t *testing.T, r *rig, server oracle) {
		if got := r.sink.Stats().Lacking(); len(got) != 0 {
			t.Fatalf("a table that has all columns lacks %+v", got)
		}
		for _, change := range []string{"DROP COLUMN route", "ADD COLUMN route String MATERIALIZED 'x'"} {
			server.MustQuery(t, "ALTER TABLE events "+change)
			r.append(10)
			eventually(t, func() bool { return len(r.sink.Stats().Lacking()) == 1 }, func() string {
				return fmt.Sprintf("after %s nothing is told: %+v", change, r.sink.Stats())
			})
			if got := r.sink.Stats().Lacking()[0]; got.Column != "route" || !strings.HasPrefix(got.Remedy, "ALTER TABLE `default`.`events`") {
				t.Errorf("told %+v", got)
			}
		}
		server.MustQuery(t, "ALTER TABLE events DROP COLUMN route")
		server.MustQuery(t, "ALTER TABLE events ADD COLUMN route String")
		eventually(t, func() bool { return len(r.sink.Stats().Lacking()) == 0 }, func() string {
			return fmt.Sprintf("the column is there again, and told to be missing: %+v", r.sink.Stats())
		})
		r.shipped()
		wantEach(t, server, "", r.log.DurableSeq())
	})
}

// TestUnstoredValuesAreCounted, those of extra alone if there are any.
func TestUnstoredValuesAreCounted(t *testing.T) {
	alteredTable(t, func(t *testing.T, r *rig, server oracle) {
		server.MustQuery(t, "ALTER TABLE events DROP COLUMN route")
		r.append(10)
		r.shipped()
		r.appendRaw(`{"eventType":"click","timestamp":"2026-11-23T10:00:00Z","sessionId":"s","unknown":1}`)
		r.shipped()
		counts := map[string]uint64{}
		for _, u := range r.sink.Stats().Lacking() {
			counts[u.Column] = u.Values
		}
		if counts["route"] != 10 || counts["extra"] != 1 {
			t.Errorf("counted %v, want 10 of route and 1 of extra", counts)
		}
	})
}
