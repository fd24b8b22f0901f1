package clickhouse

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
)

// granted reads the statements that OPERATING.md gives for a purpose, for the
// only user that the engine has.
func granted(t *testing.T, purpose string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "node", "OPERATING.md"))
	if err != nil {
		t.Fatal(err)
	}
	var statements []string
	for _, m := range regexp.MustCompile("(?m)^    (GRANT .*) TO forebay; +-- "+purpose+"$").FindAllStringSubmatch(string(page), -1) {
		statements = append(statements, m[1])
	}
	if len(statements) == 0 {
		t.Fatalf("OPERATING.md grants nothing for %s", purpose)
	}
	return statements
}

// TestLeastRights does with the rights that the documents name what they name
// them for; with fewer, one line says what is missing, and nothing is lost.
func TestLeastRights(t *testing.T) {
	engine, o := startEngine(t)
	grant := func(statements ...string) {
		t.Helper()
		if err := engine.Grant(statements...); err != nil {
			t.Fatal(err)
		}
	}
	delivery, creation, alteration := granted(t, "to deliver, audit and doctor"), granted(t, "to create the table"), granted(t, "for schema apply")
	r := newRig(t)

	grant(delivery...)
	r.append(100)
	r.start(o)
	if got := r.paused(); !strings.Contains(got, "497 ACCESS_DENIED") || !strings.Contains(got, "CREATE TABLE") {
		t.Errorf("without the right to create the table: %s", got)
	}
	r.stop()
	grant(append(creation, delivery...)...)
	r.start(o)
	r.shipped()
	r.stop()

	grant(delivery...)
	r.append(100)
	r.start(o)
	r.shipped()
	wantEach(t, engine, "", 200)
	all, err := Examine(t.Context(), o)
	if err != nil || len(all) != 1 || all[0].Err != nil || len(all[0].Unstored) > 0 {
		t.Errorf("examined: %+v, %v", all, err)
	}
	audit := r.audits(o)
	if got := audited(t, audit, shipper.AuditRequest{Cursor: "clickhouse"}); got.State != shipper.AuditDone || got.Compared != 200 || got.Missing != 0 {
		t.Errorf("audit: %+v", got)
	}
	if _, err := Apply(t.Context(), o); err != nil {
		t.Errorf("apply with nothing to do: %v", err)
	}
	r.stop()

	for _, fewer := range []string{"GRANT SELECT ON default.events", "GRANT INSERT ON default.events"} {
		grant(fewer)
		own := o
		own.CreateTable = false
		all, err := Examine(t.Context(), own)
		if err != nil || len(all) != 1 || all[0].Err == nil || !strings.Contains(all[0].Advice, "grant the user SELECT and INSERT") {
			t.Errorf("with %s: %+v, %v", fewer, all, err)
		}
		r.append(10)
		r.start(own)
		if got := r.paused(); !strings.Contains(got, "grant the user SELECT and INSERT") {
			t.Errorf("with %s: paused because %s", fewer, got)
		}
		r.stop()
	}

	grant()
	engine.MustQuery(t, "ALTER TABLE events DROP COLUMN extra, MODIFY COLUMN app_id LowCardinality(FixedString(3))")
	engine.MustQuery(t, "ALTER TABLE events REMOVE TTL")
	engine.MustQuery(t, "ALTER TABLE events RESET SETTING non_replicated_deduplication_window")
	grant(append(alteration, delivery...)...)
	if done, err := Apply(t.Context(), o); err != nil || len(done.Statements) != 4 {
		t.Errorf("applied %+v: %v", done, err)
	}
	r.start(o)
	r.shipped()
	wantEach(t, engine, "", 220)
}

// TestLeastRightsOfAnOldServer: a user of the table's database alone delivers,
// and creates the table, where there are no grants.
func TestLeastRightsOfAnOldServer(t *testing.T) {
	server := clickhousetest.StartServer(t)
	server.MustQuery(t, "CREATE DATABASE other")
	o := Options{Addrs: []string{server.Addr()}, Username: clickhousetest.NarrowUser, CreateTable: true}
	r := newRig(t)
	r.append(100)
	r.start(o)
	r.shipped()
	wantEach(t, server, "", 100)
	if got := audited(t, r.audits(o), shipper.AuditRequest{Cursor: "clickhouse"}); got.Compared != 100 || got.Missing != 0 {
		t.Errorf("audit: %+v", got)
	}
	o.Database, o.CreateTable = "other", false
	all, err := Examine(t.Context(), o)
	if err != nil || len(all) != 1 || all[0].Err == nil {
		t.Errorf("in a database that the user may not see: %+v, %v", all, err)
	}
	o.Database, o.CreateTable, o.Username = "", true, clickhousetest.ReadOnlyUser
	r.append(10)
	r.start(o)
	if got := r.paused(); !strings.Contains(got, "readonly = 0") {
		t.Errorf("with readonly: %s", got)
	}
}
