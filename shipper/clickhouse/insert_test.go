package clickhouse

import (
	"strings"
	"testing"
)

func TestInsertsIntoAnOperatorsTableOverNative(t *testing.T) {
	server, o := startOld(t)
	r := newRig(t)
	r.append(2500)
	r.start(o)
	r.shipped()
	wantEach(t, server, "", 2500)

	got := server.MustQuery(t, `SELECT project_id, session_id, event_type, toString(timestamp), route, target_type, target_id,
		target_selector, target_tag, metadata, environment, idempotency_key, sdk_version, app_id, node_id, log_id
		FROM events WHERE seq = 1234`)
	want := strings.Join([]string{"shop", "s2", "click", "2026-11-23 10:00:00", "/cart/1234", "element", "buy",
		"#buy", "button", `{"n":1234}`, "test", "k1234", "1.0.0", "web", "edge-1", r.log.ID().String()}, "\t")
	if got != want {
		t.Errorf("row 1234:\ngot  %s\nwant %s", got, want)
	}
	stats := r.sink.Stats()
	if stats.Rows != 2500 || stats.ServerVersion != "18.16.1" || !strings.HasPrefix(stats.Tokens, "no: the server") {
		t.Errorf("stats: %+v", stats)
	}
	r.append(1)
	r.shipped()
	wantEach(t, server, "", 2501)
}

func TestCreatesTheTableAndInsertsOverHTTP(t *testing.T) {
	engine, o := startEngine(t)
	r := newRig(t)
	r.append(2500)
	r.start(o)
	r.shipped()
	wantEach(t, engine, "", 2500)
	if got := r.sink.Stats(); got.Tokens != tokensProven || len(got.Schema) != 0 {
		t.Errorf("tokens are %q, schema differs by %q", got.Tokens, got.Schema)
	}
	got := engine.MustQuery(t, "SELECT toString(timestamp), toTypeName(received_at) = concat('DateTime64(3, ', char(39), 'UTC', char(39), ')'), metadata FROM events WHERE seq = 1234")
	if want := "2026-11-23 10:00:00.234\t1\t{\"n\":1234}"; got != want {
		t.Errorf("row 1234: %q, want %q", got, want)
	}
}
